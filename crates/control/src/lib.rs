//! Who samples how, now: serves policies to SDKs and tracks who has taken them.
