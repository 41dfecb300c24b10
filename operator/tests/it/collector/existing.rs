//! A Collector that the operator does not run, with a sampler behind it, as a process of this host.
//! It has the configuration in docs/tail-rules.md. Receivers stand in for the sampler and for
//! Jaeger.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};
use spoor_api::{Metadata, TracingStack, stack::SamplerEngine};
use tonic::Code;

use super::{
    configuration::ListenAddresses,
    pipelines::{export, tier},
    program,
    program::{Program, assert_accepts},
    sink::Sink,
};

/// The documented fields of a stack's spec, and the configuration of the Collector.
fn documented() -> [String; 2] {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tail-rules.md");
    let page = fs::read_to_string(file).unwrap();
    let (_, section) = page.split_once("\n## An existing Collector\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```yaml\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("```").unwrap().0.to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

fn documented_config() -> Value {
    let [_, config] = documented();
    serde_yaml::from_str(&config).unwrap()
}

#[test]
fn documented_stack_has_a_sampler() {
    let [spec, _] = documented();
    let spec = serde_yaml::from_str(&spec).unwrap();
    let stack = TracingStack::new(Metadata::named("tracing"), spec);
    let stack = stack.validate().unwrap();
    assert_eq!(stack.sampler.engine(), SamplerEngine::Spoor);
}

#[test]
fn documented_pipelines_are_the_operators() {
    let documented = documented_config();
    let data = tier("{}").config.data.unwrap();
    // The operator writes durations in milliseconds.
    let built = data["config.yaml"].replace("5000ms", "5s");
    let built: Value = serde_yaml::from_str(&built).unwrap();
    for (receiver, same) in [("otlp", "otlp"), ("otlp/kept", "otlp/spoor-kept")] {
        assert_eq!(
            documented["receivers"][receiver], built["receivers"][same],
            "{receiver}"
        );
    }
    for (exporter, same) in [
        ("otlp_grpc/sampler", "otlp_grpc/spoor-sampler"),
        ("otlp_grpc/jaeger", "otlp_grpc/spoor-jaeger"),
    ] {
        let mut settings = documented["exporters"][exporter].clone();
        let mut expected = built["exporters"][same].clone();
        for settings in [&mut settings, &mut expected] {
            assert!(settings["endpoint"].take().is_string(), "{exporter}");
        }
        assert_eq!(settings, expected, "{exporter}");
    }
    for pipeline in ["traces/in", "traces/out"] {
        let pipelines = [&documented, &built].map(|config| &config["service"]["pipelines"]);
        let [found, expected] = pipelines.map(|pipelines| &pipelines[pipeline]["processors"]);
        assert_eq!(found, expected, "{pipeline}");
    }
}

#[test]
fn collector_accepts_the_documented_configuration() {
    let Some(program) = program("collector_accepts_the_documented_configuration") else {
        return;
    };
    let [_, config] = documented();
    assert_accepts(&program, &config);
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_pipelines_lead_to_sampler_and_back() {
    let test = "documented_pipelines_lead_to_sampler_and_back";
    let Some(program) = program(test) else {
        return;
    };
    let (sampler, jaeger) = (Sink::start().await, Sink::start().await);
    let addresses = ListenAddresses::on_free_ports();
    let config = relocated(documented_config(), &addresses, &sampler, &jaeger);
    let collector = Program::start(&program, &tier("{}"), &config, addresses).await;
    for (address, receiver) in [(addresses.grpc, &sampler), (addresses.peers, &jaeger)] {
        receiver.refuse(true);
        assert_eq!(export(address, 10).await, Err(Code::Unavailable));
        receiver.refuse(false);
        assert_eq!(export(address, 10).await, Ok(()));
        // Immediately: a Collector that is killed now loses nothing.
        assert_eq!(receiver.spans(), 1);
    }
    // No span goes round in circles: neither received what was sent to the other.
    collector.stop().await;
    assert_eq!((sampler.spans(), jaeger.spans()), (1, 1));
}

/// The configuration with addresses on this host, and with the probe that the test waits for.
fn relocated(
    mut config: Value,
    addresses: &ListenAddresses,
    sampler: &Sink,
    jaeger: &Sink,
) -> Value {
    let text = |address: SocketAddr| json!(address.to_string());
    let receivers = &mut config["receivers"];
    receivers["otlp"]["protocols"]["grpc"]["endpoint"] = text(addresses.grpc);
    receivers["otlp"]["protocols"]["http"]["endpoint"] = text(addresses.http);
    receivers["otlp/kept"]["protocols"]["grpc"]["endpoint"] = text(addresses.peers);
    let exporters = &mut config["exporters"];
    exporters["otlp_grpc/sampler"]["endpoint"] = text(sampler.address);
    exporters["otlp_grpc/jaeger"]["endpoint"] = text(jaeger.address);
    config["extensions"] = json!({"health_check": {"endpoint": text(addresses.health)}});
    config["service"]["extensions"] = json!(["health_check"]);
    let own_metrics = addresses.own_metrics;
    let prometheus = json!({"host": own_metrics.ip(), "port": own_metrics.port()});
    config["service"]["telemetry"] = json!({"metrics": {"readers": [
        {"pull": {"exporter": {"prometheus": prometheus}}},
    ]}});
    config
}
