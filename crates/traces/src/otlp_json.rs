//! The schema of an `ExportTraceServiceRequest` in OTLP/JSON. The receiver uses it to read JSON,
//! the query API to write JSON, and the scan to validate protobuf messages whose content it does
//! not use, and to compute the decoded size of a trace.
//!
//! Source: opentelemetry-proto 1.10.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, EntityRef, KeyValue},
    trace::v1::{
        ResourceSpans, ScopeSpans, Span,
        span::{Event, Link},
    },
};

/// A message type.
pub(crate) struct Message {
    pub(crate) fields: &'static [Field],
    /// The decoded size of an element in a list; 0 if the message is only embedded in another.
    pub(crate) decoded_bytes: usize,
}

/// A field of a message.
pub(crate) struct Field {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) is_repeated: bool,
    pub(crate) written: Written,
}

/// The condition under which the query API writes a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    IfPresent,
    /// A message that is written as `{}` if it is missing, as in Jaeger.
    Always,
    Never,
}

/// The type of a field's value.
pub(crate) enum Kind {
    Text,
    /// Bytes, in hexadecimal digits.
    Id,
    /// Bytes, in base64.
    Bytes,
    Bool,
    Int64,
    Uint32,
    Fixed32,
    Fixed64,
    Double,
    /// A number or a name. OTLP allows only numbers; proto3 and the Collector accept both.
    Enum(&'static [&'static str]),
    Message(&'static Message),
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn field_by_number(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// The field that has this name in the `.proto` file; `None` for a name without an underscore,
    /// which is the same in JSON.
    pub(crate) fn field_by_proto_name(&self, name: &str) -> Option<&'static Field> {
        let letters = || name.bytes().filter(|byte| *byte != b'_');
        let is_same = |field: &&Field| {
            let camel = field.name.bytes().map(|byte| byte.to_ascii_lowercase());
            letters().eq(camel)
        };
        let field = self.fields.iter().find(is_same);
        field.filter(|_| name.contains('_'))
    }
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        is_repeated: false,
        written: Written::IfPresent,
    }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        is_repeated: true,
        ..one(name, number, kind)
    }
}

const fn always(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        written: Written::Always,
        ..one(name, number, kind)
    }
}

pub(crate) static REQUEST: Message = Message {
    decoded_bytes: 0,
    fields: &[many("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))],
};

pub(crate) static RESOURCE_SPANS: Message = Message {
    decoded_bytes: size_of::<ResourceSpans>(),
    fields: &[
        always("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static RESOURCE: Message = Message {
    decoded_bytes: 0,
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Kind::Uint32),
        Field {
            written: Written::Never,
            ..many("entityRefs", 3, Kind::Message(&ENTITY_REF))
        },
    ],
};

pub(crate) static ENTITY_REF: Message = Message {
    decoded_bytes: size_of::<EntityRef>(),
    fields: &[
        one("schemaUrl", 1, Kind::Text),
        one("type", 2, Kind::Text),
        many("idKeys", 3, Kind::Text),
        many("descriptionKeys", 4, Kind::Text),
    ],
};

static SCOPE_SPANS: Message = Message {
    decoded_bytes: size_of::<ScopeSpans>(),
    fields: &[
        always("scope", 1, Kind::Message(&SCOPE)),
        many("spans", 2, Kind::Message(&SPAN)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

pub(crate) static SCOPE: Message = Message {
    decoded_bytes: 0,
    fields: &[
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static SPAN: Message = Message {
    decoded_bytes: size_of::<Span>(),
    fields: &[
        one("traceId", 1, Kind::Id),
        one("spanId", 2, Kind::Id),
        one("traceState", 3, Kind::Text),
        one("parentSpanId", 4, Kind::Id),
        one("name", 5, Kind::Text),
        one("kind", 6, Kind::Enum(SPAN_KINDS)),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Kind::Uint32),
        many("events", 11, Kind::Message(&EVENT)),
        one("droppedEventsCount", 12, Kind::Uint32),
        many("links", 13, Kind::Message(&LINK)),
        one("droppedLinksCount", 14, Kind::Uint32),
        always("status", 15, Kind::Message(&STATUS)),
        one("flags", 16, Kind::Fixed32),
    ],
};

const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

static EVENT: Message = Message {
    decoded_bytes: size_of::<Event>(),
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

pub(crate) static LINK: Message = Message {
    decoded_bytes: size_of::<Link>(),
    fields: &[
        one("traceId", 1, Kind::Id),
        one("spanId", 2, Kind::Id),
        one("traceState", 3, Kind::Text),
        many("attributes", 4, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ],
};

static STATUS: Message = Message {
    decoded_bytes: 0,
    fields: &[
        one("message", 2, Kind::Text),
        one("code", 3, Kind::Enum(STATUS_CODES)),
    ],
};

const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

pub(crate) static KEY_VALUE: Message = Message {
    decoded_bytes: size_of::<KeyValue>(),
    fields: &[
        one("key", 1, Kind::Text),
        always("value", 2, Kind::Message(&ANY_VALUE)),
    ],
};

static ANY_VALUE: Message = Message {
    decoded_bytes: size_of::<AnyValue>(),
    fields: &[
        one("stringValue", 1, Kind::Text),
        one("boolValue", 2, Kind::Bool),
        one("intValue", 3, Kind::Int64),
        one("doubleValue", 4, Kind::Double),
        one("arrayValue", 5, Kind::Message(&ARRAY)),
        one("kvlistValue", 6, Kind::Message(&PAIRS)),
        one("bytesValue", 7, Kind::Bytes),
        // Signed in the schema; it refers to a dictionary that only profiles have.
        one("stringValueStrindex", 8, Kind::Uint32),
    ],
};

pub(crate) static ARRAY: Message = Message {
    decoded_bytes: 0,
    fields: &[many("values", 1, Kind::Message(&ANY_VALUE))],
};

pub(crate) static PAIRS: Message = Message {
    decoded_bytes: 0,
    fields: &[many("values", 1, Kind::Message(&KEY_VALUE))],
};
