//! Invalid policies are refused with the line, the field and the fix; the rate in force does not
//! change.

use std::process::{Command, Stdio};

use crate::lab::{Lab, command, policy, run};

/// The mistake, the file, and the texts that the message must contain.
const BAD: [(&str, &str, &[&str]); 9] = [
    (
        "an unknown field",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad}\nspec:\n  head:\n    probabilty: 1%\n",
        &[
            "bad.yaml:6: spec.head.probabilty: unknown field",
            "\"probability\"",
        ],
    ),
    (
        "150 %",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad}\nspec:\n  head:\n    probability: 150%\n",
        &[
            "bad.yaml:6: spec.head.probability: ",
            "from \"0%\" to \"100%\"",
        ],
    ),
    (
        "two heads",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad}\nspec:\n  head:\n    probability: 1%\n    rateLimit: {tracesPerSecond: 10}\n",
        &["bad.yaml:5: spec.head: ", "not both"],
    ),
    (
        "no head and no tail",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad}\nspec:\n  priority: 1\n",
        &["bad.yaml:4: spec: ", "\"head\", \"tail\" or both"],
    ),
    (
        "slowerThan: soon",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad}\nspec:\n  tail:\n    keep:\n    - name: slow\n      slowerThan: soon\n    otherwise: 10%\n",
        &["bad.yaml:8: spec.tail.keep[0].slowerThan: ", "500ms"],
    ),
    (
        "broken YAML",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad\nspec:\n  head: {probability: 1%}\n",
        &["bad.yaml:"],
    ),
    (
        "two documents of which one is bad",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: good}\nspec:\n  priority: 9\n  head: {probability: 100%}\n---\napiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: bad}\nspec:\n  head: {probability: lots}\n",
        &["bad.yaml:12: spec.head.probability: ", "\"1%\""],
    ),
    (
        "one name twice",
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: one}\nspec: {head: {probability: 1%}}\n---\napiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: one}\nspec: {head: {probability: 2%}}\n",
        &["bad.yaml:8: metadata.name: "],
    ),
    (
        "a resource for clusters",
        include_str!("../../../k8s/samples/stacks/default.yaml"),
        &[
            "bad.yaml:4: kind: ",
            "apply a TracingStack to a cluster",
            "`kubectl apply`",
        ],
    ),
];

#[tokio::test]
async fn bad_policy_leaves_the_rate_in_force() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "0%")).await;
    let path = lab.folder().join("bad.yaml");
    for (what, text, expected) in BAD {
        std::fs::write(&path, text).unwrap();
        for subcommand in ["apply", "diff"] {
            let ended = lab.spoor(&[subcommand, "-f", path.to_str().unwrap()]).await;
            assert_eq!(ended.code, Some(2), "{what}: {ended:?}");
            assert_eq!(ended.stdout, "", "{what}");
            for part in expected {
                assert!(
                    ended.stderr.contains(part),
                    "{what}: {part:?} in {}",
                    ended.stderr
                );
            }
        }
    }
    assert_eq!(lab.requests(5).await, 0);
    let names = lab.ok(&["get", "policies", "-o", "name"]).await;
    assert_eq!(names, "samplingpolicy.spoor.dev/service-a\n");
}

#[tokio::test]
async fn unusable_file_exits_with_2() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let huge = format!("{}{}", policy("p", "0%"), "# much\n".repeat(200_000));
    let files: [(&str, &[u8], &str); 4] = [
        ("empty.yaml", b"# nothing\n", "no policy in "),
        ("binary.yaml", b"\xff\xfe\x00", "not UTF-8 text"),
        ("huge.yaml", huge.as_bytes(), "larger than 1 MiB"),
        (
            "tab.yaml",
            b"metadata:\n\tname: p\n",
            "tab.yaml:2: must be indented with spaces",
        ),
    ];
    for (name, content, expected) in files {
        let path = lab.folder().join(name);
        std::fs::write(&path, content).unwrap();
        let ended = lab.spoor(&["apply", "-f", path.to_str().unwrap()]).await;
        assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{name}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{name}: {ended:?}");
        assert!(ended.stderr.contains(name), "{name}: {ended:?}");
    }
    let empty = lab.folder().join("empty.yaml");
    for command in ["diff", "delete"] {
        let ended = lab.spoor(&[command, "-f", empty.to_str().unwrap()]).await;
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        assert!(
            ended.stderr.contains("no policy in "),
            "{command}: {ended:?}"
        );
    }
    let missing = lab.spoor(&["apply", "-f", "/nowhere/p.yaml"]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/p.yaml"), "{missing:?}");
}

#[tokio::test]
async fn several_files_are_applied_atomically() {
    let lab = Lab::start().await;
    let (good, bad) = (
        lab.folder().join("good.yaml"),
        lab.folder().join("bad.yaml"),
    );
    std::fs::write(&good, policy("good", "0%")).unwrap();
    std::fs::write(&bad, policy("bad", "1000%")).unwrap();
    let files = [
        "apply",
        "-f",
        good.to_str().unwrap(),
        "-f",
        bad.to_str().unwrap(),
    ];
    let ended = lab.spoor(&files).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(lab.request().await);
    assert_eq!(lab.ok(&["get", "policies", "-o", "name"]).await, "");

    std::fs::write(&bad, policy("better", "1%")).unwrap();
    let text = lab.ok(&files).await;
    assert!(
        text.contains("good created") && text.contains("better created"),
        "{text}"
    );
}

#[tokio::test]
async fn admin_api_refuses_other_origins() {
    let lab = Lab::start().await;
    let http = reqwest::Client::new();
    let url = format!("{}/v1/policies", lab.url("admin"));
    let post = || {
        http.post(&url)
            .header("content-type", "application/yaml")
            .body(policy("p", "0%"))
    };
    let web_page = post()
        .header("origin", "http://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(web_page.status(), 403);
    assert_eq!(
        web_page.headers()["content-type"],
        "application/problem+json"
    );
    let rebound = post()
        .header("host", "evil.example:16600")
        .send()
        .await
        .unwrap();
    assert_eq!(rebound.status(), 403);
    let form = http
        .post(&url)
        .header("content-type", "text/plain")
        .body(policy("p", "0%"));
    assert_eq!(form.send().await.unwrap().status(), 415);
    let huge = post().body(vec![b'#'; 5 << 20]).send().await.unwrap();
    assert_eq!(huge.status(), 413);
    assert_eq!(lab.ok(&["get", "policies", "-o", "name"]).await, "");
    assert_eq!(post().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn bad_options_name_the_valid_values() {
    for (arguments, expected) in [
        (
            &["fault", "service-b", "--delay", "90s"][..],
            "'--delay <DURATION>': must be at most 60 s",
        ),
        (&["trace", "nope"], "must be 1 to 32 hexadecimal digits"),
        (&["trace", "0"], "must be 1 to 32 hexadecimal digits"),
        (&["traces", "--lookback", "0s"], "must be longer than 0"),
        (
            &["traces", "--traces-url", "ftp://x"],
            "must be an http:// URL such as http://127.0.0.1:16686",
        ),
        (&["traces", "--service", ""], "'--service <SERVICE>'"),
        (&["generate", "--duration", "0s"], "must be longer than 0"),
        (
            &["override", "a", "1%", "--for", "1m", "-o", "json", "--wait"],
            "cannot be used with",
        ),
        (
            &["override", "a", "1%", "--for", "9000000h"],
            "spoor: --for: must end before the year 3000",
        ),
        (&["load", "--path", "nope"], "must begin with a /"),
        (
            &["check", "1", "--answer", "42"],
            "--answer \"42\": lesson 1 asks for no answer",
        ),
        (
            &["check", "8", "--answer", "42"],
            "--answer \"42\": lesson 8 asks for --answer failed=N",
        ),
        (
            &["up", "--sampler", "always_on", "--sampler-arg", "0.5"],
            "the sampler always_on has no ratio; choose traceidratio or",
        ),
        (
            &["check", "4", "--answer", "trace=1", "--answer", "end=2"],
            "--answer \"end=2\": lesson 4 asks for --answer trace=TRACE_ID --answer began=SERVICE",
        ),
    ] {
        let ended = run(command().args(arguments), "").await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn closed_standard_error_does_not_panic() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_spoor"))
        .args(["apply", "-f", "/nowhere/p.yaml"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(program.stderr.take());
    assert_eq!(program.wait().unwrap().code(), Some(2));
}

#[tokio::test]
async fn too_many_policies_are_refused() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let operations: Vec<String> = (0..64).map(|number| format!("op{number}")).collect();
    let target = |number: usize| format!("{{service: s{number}, operations: {operations:?}}}");
    let targets: Vec<String> = (0..64).map(target).collect();
    let wide = |number: usize| {
        format!(
            "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: p{number}}}\n\
             spec: {{head: {{probability: 1%}}, targets: [{}]}}\n",
            targets.join(", ")
        )
    };
    let narrow = |number: usize| policy(&format!("s{number}"), "1%");
    let apply = async |name: &str, policies: Vec<String>| {
        let path = lab.folder().join(name);
        std::fs::write(&path, policies.join("---\n")).unwrap();
        lab.spoor(&["apply", "-f", path.to_str().unwrap()]).await
    };

    let ended = apply("wide.yaml", (0..3).map(wide).collect()).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let expected = "12288 services and operations in total, more than the limit of 10000";
    assert!(ended.stderr.contains(expected), "{ended:?}");

    let ended = apply("many.yaml", (0..600).map(narrow).collect()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = apply("more.yaml", (600..1001).map(narrow).collect()).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let expected = "1001 policies in total, more than the limit of 1000";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    let names = lab.ok(&["get", "policies", "-o", "name"]).await;
    assert_eq!(names.lines().count(), 600);
}
