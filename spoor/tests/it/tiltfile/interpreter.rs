//! Runs a Tiltfile with built-ins that record what it declares.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value as Json, json};
use starlark::{
    environment::{Globals, GlobalsBuilder, Module},
    eval::Evaluator,
    starlark_module,
    syntax::{AstModule, Dialect},
    values::{Value, dict::DictRef, tuple::UnpackTuple},
};

use super::signatures::parameters;

/// What a Tiltfile declares: each call of a built-in, in order.
#[derive(Debug)]
pub struct Declared(Vec<Call>);

/// A call: what each parameter got.
#[derive(Clone, Debug)]
pub struct Call {
    function: &'static str,
    pub given: Map<String, Json>,
}

/// What the Tiltfile finds around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// After `--` on Tilt's command line.
    pub settings: BTreeMap<String, bool>,
    /// What `getconf GNU_LIBC_VERSION` prints.
    pub libc: &'static str,
}

#[derive(Default)]
struct Recorder {
    root: PathBuf,
    surroundings: Surroundings,
    calls: Vec<Call>,
}

thread_local! {
    /// Of the Tiltfile that this thread runs: the evaluator would carry only what is `unsafe` to declare.
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

impl Declared {
    /// Runs the Tiltfile of the project.
    pub fn by(surroundings: Surroundings) -> anyhow::Result<Self> {
        let root = super::root();
        let text = std::fs::read_to_string(root.join("Tiltfile"))?;
        // Remote extensions come by `load`; a Tiltfile may have statements at its top level.
        let dialect = Dialect {
            enable_load: false,
            enable_top_level_stmt: true,
            ..Dialect::Standard
        };
        let file = AstModule::parse("Tiltfile", text, &dialect).map_err(|e| e.into_anyhow())?;
        let globals = globals(&root);
        RECORDER.set(Recorder {
            root,
            surroundings,
            calls: Vec::new(),
        });
        let module = Module::new();
        Evaluator::new(&module)
            .eval_module(file, &globals)
            .map_err(|e| e.into_anyhow())?;
        Ok(Self(RECORDER.take().calls))
    }

    /// The calls of a function.
    pub fn calls(&self, function: &str) -> Vec<&Call> {
        self.0
            .iter()
            .filter(|call| call.function == function)
            .collect()
    }
}

impl Call {
    /// A parameter that was given as text, else the empty text.
    pub fn text(&self, parameter: &str) -> &str {
        self.given
            .get(parameter)
            .and_then(Json::as_str)
            .unwrap_or_default()
    }

    /// A parameter that was given as a list of texts.
    pub fn texts(&self, parameter: &str) -> Vec<&str> {
        let list = self.given.get(parameter).and_then(Json::as_array);
        list.into_iter()
            .flatten()
            .map(|text| text.as_str().unwrap())
            .collect()
    }

    /// Whether a parameter was given as this.
    pub fn is(&self, parameter: &str, value: impl Into<Json>) -> bool {
        self.given.get(parameter) == Some(&value.into())
    }
}

fn globals(root: &Path) -> Globals {
    let mut globals = GlobalsBuilder::standard();
    recorded(&mut globals);
    globals.set("TRIGGER_MODE_MANUAL", "manual");
    globals.set("TRIGGER_MODE_AUTO", "auto");
    globals.namespace("v1alpha1", v1alpha1);
    globals.namespace("config", |config| {
        config.set("main_dir", root.to_str().unwrap());
        config_functions(config);
    });
    globals.namespace("os", |os| {
        os_functions(os);
        os.namespace("path", path_functions);
    });
    globals.build()
}

macro_rules! builtins {
    ($module:ident: $($name:ident is $full:literal),* $(,)?) => {
        #[starlark_module]
        fn $module(builder: &mut GlobalsBuilder) {
            $(fn $name<'v>(
                #[starlark(args)] given: UnpackTuple<Value<'v>>,
                #[starlark(kwargs)] named: DictRef<'v>,
                eval: &mut Evaluator<'v, '_, '_>,
            ) -> anyhow::Result<Value<'v>> {
                call($full, given, &named, eval)
            })*
        }
    };
}

builtins! { recorded:
    allow_k8s_contexts is "allow_k8s_contexts",
    ci_settings is "ci_settings",
    decode_yaml_stream is "decode_yaml_stream",
    docker_build is "docker_build",
    encode_yaml_stream is "encode_yaml_stream",
    helm is "helm",
    k8s_kind is "k8s_kind",
    k8s_resource is "k8s_resource",
    k8s_yaml is "k8s_yaml",
    link is "link",
    listdir is "listdir",
    local is "local",
    local_resource is "local_resource",
    port_forward is "port_forward",
}
builtins! { v1alpha1:
    cmd is "v1alpha1.cmd",
    start_on_spec is "v1alpha1.start_on_spec",
    ui_button is "v1alpha1.ui_button",
    ui_component_location is "v1alpha1.ui_component_location",
}
builtins! { config_functions:
    define_bool is "config.define_bool",
    parse is "config.parse",
}
builtins! { os_functions:
    getenv is "os.getenv",
}
builtins! { path_functions:
    basename is "os.path.basename",
}

fn call<'v>(
    function: &'static str,
    given: UnpackTuple<Value<'v>>,
    named: &DictRef<'v>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> anyhow::Result<Value<'v>> {
    let call = Call {
        function,
        given: arguments(function, given, named)?,
    };
    let answer = RECORDER.with_borrow_mut(|recorder| {
        let answer = recorder.answer(&call);
        recorder.calls.push(call);
        answer
    })?;
    Ok(eval.heap().alloc(answer))
}

/// What each parameter gets, as Tilt would have it.
fn arguments(
    function: &str,
    given: UnpackTuple<Value<'_>>,
    named: &DictRef<'_>,
) -> anyhow::Result<Map<String, Json>> {
    let parameters = parameters(function)
        .ok_or_else(|| anyhow::anyhow!("{function}: not among the known functions of Tilt"))?;
    anyhow::ensure!(
        given.items.len() <= parameters.len(),
        "{function}: too many arguments"
    );
    let mut arguments = Map::new();
    for (parameter, value) in parameters.iter().zip(given.items) {
        arguments.insert((*parameter).to_owned(), value.to_json_value()?);
    }
    for (name, value) in named.iter() {
        let name = name.unpack_str().unwrap_or_default();
        anyhow::ensure!(
            parameters.contains(&name),
            "{function}: Tilt knows no parameter {name}"
        );
        let earlier = arguments.insert(name.to_owned(), value.to_json_value()?);
        anyhow::ensure!(earlier.is_none(), "{function}: {name} is given twice");
    }
    Ok(arguments)
}

impl Recorder {
    /// What the call returns.
    fn answer(&self, call: &Call) -> anyhow::Result<Json> {
        Ok(match call.function {
            "config.parse" => json!(self.surroundings.settings),
            "decode_yaml_stream" => documents(call.text("yaml"))?.into(),
            "encode_yaml_stream" => stream(&call.given["objs"])?.into(),
            "helm" => self.helm(call)?.into(),
            "listdir" => {
                let mut found = files(
                    &self.root.join(call.text("directory")),
                    call.is("recursive", true),
                )?;
                found.sort();
                found.into()
            }
            "local" => {
                anyhow::ensure!(
                    call.text("command").starts_with("getconf "),
                    "unexpected: {call:?}"
                );
                self.surroundings.libc.into()
            }
            "os.getenv" => call.given["default"].clone(),
            "os.path.basename" => call
                .text("path")
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .into(),
            "link"
            | "port_forward"
            | "v1alpha1.start_on_spec"
            | "v1alpha1.ui_component_location" => call.given.clone().into(),
            _ => Json::Null,
        })
    }

    /// As Tilt runs it.
    fn helm(&self, call: &Call) -> anyhow::Result<String> {
        let mut helm = Command::new(env::var_os("HELM").unwrap_or_else(|| "helm".into()));
        helm.args(["template", call.text("name"), call.text("paths")])
            .args(["--include-crds", "--namespace", call.text("namespace")])
            .current_dir(&self.root);
        for value in call.texts("set") {
            helm.args(["--set", value]);
        }
        let rendered = helm.output()?;
        let problem = String::from_utf8_lossy(&rendered.stderr);
        anyhow::ensure!(rendered.status.success(), "helm: {problem}");
        Ok(String::from_utf8(rendered.stdout)?)
    }
}

/// The files of a folder, and of those in it.
pub fn files(folder: &Path, recursive: bool) -> std::io::Result<Vec<String>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            found.push(path.to_string_lossy().into_owned());
        } else if recursive {
            found.append(&mut files(&path, recursive)?);
        }
    }
    Ok(found)
}

/// The documents of a YAML stream.
pub fn documents(text: &str) -> anyhow::Result<Vec<Json>> {
    use serde::Deserialize;
    let documents = serde_yaml::Deserializer::from_str(text).map(Json::deserialize);
    let documents: Result<Vec<Json>, _> = documents.collect();
    Ok(documents?
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// JSON is YAML.
fn stream(objects: &Json) -> anyhow::Result<String> {
    let objects = objects
        .as_array()
        .ok_or_else(|| anyhow::anyhow!("objs: must be a list"))?;
    Ok(objects
        .iter()
        .map(|object| format!("---\n{object}\n"))
        .collect())
}
