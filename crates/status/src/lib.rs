//! What became of a policy: its status, from its resolution and the evidence.
