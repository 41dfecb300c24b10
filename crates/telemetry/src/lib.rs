//! What every service links: providers, the live sampler, propagation, layers and fault injection.
