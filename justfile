# Daily commands. `just --list` shows them; see https://just.systems to install just.

set positional-arguments

[private]
default:
    @just --list --unsorted

# Format all code.
format:
    cargo fmt --all

# Check formatting, lints and documentation.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

# Run all tests, or those of one crate: `just test -p spoor-policy`.
test *arguments="--workspace":
    cargo test --locked "$@"

# Accept changed snapshots of a crate; read the diff afterwards.
snapshots crate:
    INSTA_UPDATE=always cargo test --locked -p "$1"

# Run the cluster tests on the cluster that KUBECONFIG names.
test-cluster *tests="cluster::":
    cargo test --locked -p spoor-operator --test it -- "$@" --test-threads 1 --nocapture

# Check licences, banned crates and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check bans licenses sources

# Run the tour.
demo:
    cargo run --release -- demo

# Start the lab, with options for `spoor up`.
up *arguments:
    cargo run --release -- up "$@"

# Regenerate the custom resource definitions.
crds:
    cargo run --locked -p spoor-api --example crds

# Lint the chart and render it.
chart:
    helm lint helm/spoor
    helm template spoor helm/spoor > /dev/null

# Check what the Tiltfile declares (needs Helm, and Python's pyyaml and starlark-pyo3).
tiltfile:
    cargo build --locked -p spoor
    .ci/tiltfile target/debug/spoor

# Lint the GitHub workflows (needs actionlint).
workflows:
    actionlint

# Build both images.
images:
    docker build -t spoor:dev .
    docker build -t spoor-operator:dev --build-arg PROGRAM=spoor-operator .

# Create a kind cluster that has both images.
kind: images
    kind create cluster --config k8s/kind.yaml
    kind load docker-image spoor:dev spoor-operator:dev --name spoor
