//! The encoding of the reasons to keep traces.

use spoor_policy::{PolicyName, Probability, RuleName};

use super::record::{Fields, write_bytes};
use crate::KeepReason;

/// The numbers of the reasons in files.
const NO_POLICY: u8 = 0;
const NO_ROOT: u8 = 1;
const RULE: u8 = 2;
const OTHERWISE: u8 = 3;
const HEAD: u8 = 4;
const UNNAMED_POLICY: u8 = 5;

/// Encodes a reason.
pub(super) fn encode(reason: &KeepReason) -> Vec<u8> {
    let mut bytes = Vec::new();
    match reason {
        KeepReason::NoPolicy => bytes.push(NO_POLICY),
        KeepReason::NoRoot => bytes.push(NO_ROOT),
        KeepReason::Rule { policy, rule } => {
            bytes.push(RULE);
            write_bytes(&mut bytes, policy.as_str().as_bytes());
            write_bytes(&mut bytes, rule.as_str().as_bytes());
        }
        KeepReason::Otherwise { policy, rate } => {
            bytes.push(OTHERWISE);
            write_bytes(&mut bytes, policy.as_str().as_bytes());
            bytes.extend_from_slice(&rate.millionths().to_le_bytes());
        }
        KeepReason::Head { policy } => {
            bytes.push(HEAD);
            write_bytes(&mut bytes, policy.as_str().as_bytes());
        }
        KeepReason::UnnamedPolicy => bytes.push(UNNAMED_POLICY),
    }
    bytes
}

/// Decodes a reason. A trace is also kept if only a later version knows its reason.
pub(super) fn decode(bytes: &[u8]) -> KeepReason {
    known(bytes).unwrap_or(KeepReason::UnnamedPolicy)
}

fn known(bytes: &[u8]) -> Option<KeepReason> {
    let mut fields = Fields(bytes);
    let [number] = fields.array()?;
    let reason = match number {
        NO_POLICY => KeepReason::NoPolicy,
        NO_ROOT => KeepReason::NoRoot,
        RULE => KeepReason::Rule {
            policy: policy(&mut fields)?,
            rule: RuleName::new(text(&mut fields)?).ok()?,
        },
        OTHERWISE => KeepReason::Otherwise {
            policy: policy(&mut fields)?,
            rate: Probability::from_millionths(fields.u32()?).ok()?,
        },
        HEAD => KeepReason::Head {
            policy: policy(&mut fields)?,
        },
        UNNAMED_POLICY => KeepReason::UnnamedPolicy,
        _ => return None,
    };
    fields.is_empty().then_some(reason)
}

fn policy(fields: &mut Fields<'_>) -> Option<PolicyName> {
    PolicyName::new(text(fields)?).ok()
}

fn text<'a>(fields: &mut Fields<'a>) -> Option<&'a str> {
    std::str::from_utf8(fields.bytes()?).ok()
}
