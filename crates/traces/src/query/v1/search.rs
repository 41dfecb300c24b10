//! The parameters of `/api/traces`.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::{DAY, MICROSECOND, SERVICE_REQUIRED};
use crate::{
    Search, TraceId,
    query::{
        go,
        parameters::{self, Parameters},
    },
    service,
};

/// The default limit of a search, in traces.
const DEFAULT_LIMIT: usize = 100;
/// The most trace IDs in one request.
const MAX_IDS: usize = 1_000;
/// The lookback of a search without a start.
const DEFAULT_LOOKBACK: Duration = Duration::from_secs(2 * DAY.as_secs());

/// Reads the parameters of a request: the trace IDs in it, or else the search, and whether to
/// return traces as they are stored.
///
/// # Errors
/// A message that names the parameter and what is wrong with it.
pub fn parse(parameters: &Parameters, now: u64) -> Result<(Vec<TraceId>, Search, bool), String> {
    let start = parameters.time("start", MICROSECOND)?;
    let end = parameters.time("end", MICROSECOND)?.unwrap_or(now);
    // The Jaeger UI sends `lookback` together with `start`; scripts send only `lookback`.
    let start = match start {
        Some(start) => start,
        None => end.saturating_sub(lookback(parameters)?),
    };
    let limit = parameters.parsed("limit", parameters::limit)?;
    let duration_min = parameters.duration("minDuration")?;
    let duration_max = parameters.duration("maxDuration")?;
    let service = parameters.get("service").map(service::stored_name);
    let search = Search {
        service: service.map(str::to_owned),
        operation: parameters.text("operation"),
        tags: tags(parameters)?,
        start_min: Some(start),
        start_max: Some(end),
        // Zero means no bound: forms send it for an empty field.
        duration_min: duration_min.filter(|shortest| !shortest.is_zero()),
        duration_max: duration_max.filter(|longest| !longest.is_zero()),
        limit: limit.unwrap_or(DEFAULT_LIMIT),
    };
    let ids = parameters.all("traceID").map(|id| {
        id.parse()
            .map_err(|error| format!("cannot parse traceID param {id:?}: {error}"))
    });
    let mut ids: Vec<TraceId> = ids.collect::<Result<_, String>>()?;
    let mut seen = HashSet::new();
    // A trace ID that is repeated a thousand times would be returned as often.
    ids.retain(|id| seen.insert(*id));
    if ids.len() > MAX_IDS {
        return Err(format!(
            "parameter 'traceID' may name at most {MAX_IDS} traces"
        ));
    }
    let raw = parameters.parsed("raw", go::boolean)?.unwrap_or(false);

    if ids.is_empty() && search.service.is_none() {
        return Err(SERVICE_REQUIRED.to_owned());
    }
    if let (Some(shortest), Some(longest)) = (search.duration_min, search.duration_max)
        && longest < shortest
    {
        return Err("'maxDuration' should be greater than 'minDuration'".to_owned());
    }
    Ok((ids, search, raw))
}

fn lookback(parameters: &Parameters) -> Result<u64, String> {
    let given = parameters.get("lookback").filter(|text| *text != "custom");
    let Some(text) = given else {
        return Ok(parameters::nanos(DEFAULT_LOOKBACK));
    };
    // The Jaeger UI also sends days, which Go's durations do not have.
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    if let Some(days) = days {
        return Ok(parameters::nanos(DAY).saturating_mul(days));
    }
    let lookback = parameters.duration("lookback")?.unwrap_or_default();
    Ok(parameters::nanos(lookback))
}

/// `tag=key:value`, which may repeat, and `tags={"key":"value"}`, which takes precedence.
fn tags(parameters: &Parameters) -> Result<Vec<(String, String)>, String> {
    let mut tags = BTreeMap::new();
    for tag in parameters.all("tag") {
        let (key, value) = tag.split_once(':').ok_or_else(|| {
            format!("malformed 'tag' parameter, expecting key:value, received: {tag}")
        })?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    for object in parameters.all("tags").filter(|object| !object.is_empty()) {
        let object: BTreeMap<String, String> = serde_json::from_str(object).map_err(|error| {
            format!("malformed 'tags' parameter, cannot unmarshal JSON: {error}")
        })?;
        tags.extend(object);
    }
    parameters::tags(tags)
}
