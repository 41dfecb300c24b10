use std::path::PathBuf;

use spoor_testing::programs::skip;

/// The folder that holds `etcd`, `kube-apiserver` and `kubectl`.
#[derive(Clone, Debug)]
pub struct Assets(PathBuf);

impl Assets {
    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The programs in `KUBEBUILDER_ASSETS`. None, with a message, if that is not set or lacks a program;
/// with `SPOOR_REQUIRE_ALL=1` that is a failure.
pub fn assets(test: &str) -> Option<Assets> {
    let missing = match std::env::var_os("KUBEBUILDER_ASSETS") {
        None => "KUBEBUILDER_ASSETS is not set".to_owned(),
        Some(folder) => {
            let folder = PathBuf::from(folder);
            match ["etcd", "kube-apiserver", "kubectl"]
                .iter()
                .find(|program| !folder.join(program).is_file())
            {
                None => return Some(Assets(folder)),
                Some(program) => format!("KUBEBUILDER_ASSETS has no {program}"),
            }
        }
    };
    skip(test, &missing);
    None
}
