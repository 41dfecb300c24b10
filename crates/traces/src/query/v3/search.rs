//! The parameters of searches, traces and dependencies below `/api/v3`. Names are in camelCase or,
//! as in early versions, in snake_case.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    Search,
    query::{
        go,
        parameters::{self, DEFAULT_DEPTH, FILTER_REFUSED, Parameters},
    },
    service,
};

type Names = &'static [&'static str];

const SERVICE: Names = &["query.serviceName", "query.service_name"];
const OPERATION: Names = &["query.operationName", "query.operation_name"];
const ATTRIBUTES: Names = &["query.attributes"];
const START_MIN: Names = &["query.startTimeMin", "query.start_time_min"];
const START_MAX: Names = &["query.startTimeMax", "query.start_time_max"];
const DURATION_MIN: Names = &["query.durationMin", "query.duration_min"];
const DURATION_MAX: Names = &["query.durationMax", "query.duration_max"];
const DEPTH: Names = &[
    "query.searchDepth",
    "query.search_depth",
    "query.num_traces",
];
const RAW: Names = &["query.rawTraces", "query.raw_traces"];

/// Reads the parameters of a search, and whether to return its traces as they are stored.
///
/// # Errors
/// A message that names the parameter and what is wrong with it.
pub fn parse(parameters: &Parameters) -> Result<(Search, bool), String> {
    if parameters.get("query.filter").is_some() {
        return Err(FILTER_REFUSED.to_owned());
    }
    let text = |names| {
        let parameter = parameters.first_of(names);
        parameter.map(|(_, value)| value.to_owned())
    };
    let start_min = read(parameters, START_MIN, time)?;
    let start_max = read(parameters, START_MAX, time)?;
    let (Some(start_min), Some(start_max)) = (start_min, start_max) else {
        return Err("query.startTimeMin and query.startTimeMax are required".to_owned());
    };
    if start_min >= start_max {
        return Err("query.startTimeMin must be before query.startTimeMax".to_owned());
    }
    let duration_min = read(parameters, DURATION_MIN, go::duration)?;
    let duration_max = read(parameters, DURATION_MAX, go::duration)?;
    let raw = read(parameters, RAW, go::boolean)?.unwrap_or(false);
    let search = Search {
        service: text(SERVICE).map(|name| service::stored_name(&name).to_owned()),
        operation: text(OPERATION),
        tags: read(parameters, ATTRIBUTES, attributes)?.unwrap_or_default(),
        start_min: Some(start_min),
        start_max: Some(start_max),
        duration_min: duration_min.filter(|shortest| !shortest.is_zero()),
        duration_max: duration_max.filter(|longest| !longest.is_zero()),
        limit: read(parameters, DEPTH, parameters::limit)?.unwrap_or(DEFAULT_DEPTH),
    };
    Ok((search, raw))
}

/// Reads whether to return a trace as it is stored. The time window is a hint for stores that are
/// partitioned by time; it is only validated.
///
/// # Errors
/// A message that names the parameter and what is wrong with it.
pub fn is_raw(parameters: &Parameters) -> Result<bool, String> {
    read(parameters, &["startTime", "start_time"], time)?;
    read(parameters, &["endTime", "end_time"], time)?;
    let raw = read(parameters, &["rawTraces", "raw_traces"], go::boolean)?;
    Ok(raw.unwrap_or(false))
}

/// Reads the time window of `/api/v3/dependencies`.
///
/// # Errors
/// A message that names the parameter and what is wrong with it.
pub fn dependency_window(parameters: &Parameters) -> Result<(u64, u64), String> {
    let start = read(parameters, &["startTime", "start_time"], time)?;
    let end = read(parameters, &["endTime", "end_time"], time)?;
    match (start, end) {
        (Some(start), Some(end)) if start < end => Ok((start, end)),
        (Some(_), Some(_)) => Err("startTime must be before endTime".to_owned()),
        _ => Err("startTime and endTime are required".to_owned()),
    }
}

fn read<T>(
    parameters: &Parameters,
    names: Names,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let Some((name, value)) = parameters.first_of(names) else {
        return Ok(None);
    };
    let with_name = |error| format!("malformed parameter {name}: {error}");
    parse(value).map(Some).map_err(with_name)
}

fn time(text: &str) -> Result<u64, String> {
    // A plus sign that was not encoded, as Grafana sends it, is read as a space.
    let time = text.replace(' ', "+").parse::<Timestamp>();
    let time = time.map_err(|error| format!("must be an RFC 3339 time: {error}"))?;
    Ok(u64::try_from(time.as_nanosecond()).unwrap_or(0))
}

fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let object: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    parameters::tags(object)
}
