//! Writes the custom resource definitions for kubectl and Helm:
//! `cargo run -p spoor-api --example crds`.

use std::{fs, io, path::Path};

const HEADER: &str =
    "# Generated from crates/api; to change it: cargo run -p spoor-api --example crds\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["k8s/crds", "helm/spoor/crds"] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder)?;
        for definition in spoor_api::crd::all() {
            let name = definition["metadata"]["name"]
                .as_str()
                .ok_or_else(|| io::Error::other("definition without a name"))?;
            let text = format!("{HEADER}{}", spoor_api::to_yaml(&definition)?);
            fs::write(folder.join(format!("{name}.yaml")), text)?;
        }
    }
    Ok(())
}
