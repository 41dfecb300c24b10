//! Refused storage of Jaeger.

use crate::refused::{Case, case};

pub const REFUSED: &[Case] = &[
    case(
        "{jaeger: {storage: {}}}",
        &[
            "spec.jaeger.storage: ",
            "must have one of \"memory\", \"badger\"",
            "such as `memory: {}`",
        ],
    ),
    case(
        "{jaeger: {storage: {memory: {}, badger: {}}}}",
        &[
            "spec.jaeger.storage: ",
            "must have only one of",
            "delete the others",
        ],
    ),
    case(
        "{jaeger: {storage: {mongodb: {}}}}",
        &["unknown field \"spec.jaeger.storage.mongodb\""],
    ),
    case(
        "{jaeger: {storage: {memory: {maxTraces: 0}}}}",
        &[
            "spec.jaeger.storage.memory.maxTraces",
            "greater than or equal to 1",
        ],
    ),
    case(
        "{jaeger: {storage: {memory: {maxTraces: many}}}}",
        &[
            "spec.jaeger.storage.memory.maxTraces: ",
            "must be of type integer",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {size: lots}}}}",
        &[
            "spec.jaeger.storage.badger.size: ",
            "must be a quantity such as",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {size: 0}}}}",
        &[
            "spec.jaeger.storage.badger.size: ",
            "must be greater than 0",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {size: -1Gi}}}}",
        &[
            "spec.jaeger.storage.badger.size: ",
            "must be a quantity such as",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {retention: 3 days}}}}",
        &[
            "spec.jaeger.storage.badger.retention: ",
            "must be whole days such as \"7d\", or a duration such as \"12h\"",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {retention: 400d}}}}",
        &[
            "spec.jaeger.storage.badger.retention: ",
            "must be from 1h to 365d",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {retention: 10m}}}}",
        &[
            "spec.jaeger.storage.badger.retention: ",
            "must be from 1h to 365d",
        ],
    ),
    case(
        "{jaeger: {storage: {badger: {storageClassName: Fast SSD}}}}",
        &[
            "spec.jaeger.storage.badger.storageClassName: ",
            "must be an object's name",
        ],
    ),
    case(
        "{jaeger: {storage: {opensearch: {}}}}",
        &["spec.jaeger.storage.opensearch.urls: ", "Required value"],
    ),
    case(
        "{jaeger: {storage: {opensearch: {urls: []}}}}",
        &["spec.jaeger.storage.opensearch.urls", "at least 1 items"],
    ),
    case(
        "{jaeger: {storage: {opensearch: {urls: ['os:9200']}}}}",
        &[
            "spec.jaeger.storage.opensearch.urls[0]: ",
            "must be a URL such as \"https://opensearch:9200\"",
        ],
    ),
    case(
        "{jaeger: {storage: {opensearch: {urls: ['https://me:secret@os:9200']}}}}",
        &[
            "spec.jaeger.storage.opensearch.urls[0]: ",
            "without credentials",
        ],
    ),
    case(
        "{jaeger: {storage: {opensearch: {urls: ['http://os', 'http://os']}}}}",
        &[
            "spec.jaeger.storage.opensearch.urls[1]: ",
            "Duplicate value",
        ],
    ),
    case(
        "{jaeger: {storage: {opensearch: {urls: ['http://os:9200'], tls: {}}}}}",
        &[
            "spec.jaeger.storage.opensearch.tls: ",
            "requires URLs that begin with \"https://\"",
        ],
    ),
    case(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://es:99999']}}}}",
        &[
            "spec.jaeger.storage.elasticsearch.urls[0]: ",
            "must be a URL",
        ],
    ),
    case(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://es'], indexPrefix: Spoor}}}}",
        &[
            "spec.jaeger.storage.elasticsearch.indexPrefix: ",
            "must be lower-case letters",
        ],
    ),
    case(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://es'], credentials: {}}}}}",
        &[
            "spec.jaeger.storage.elasticsearch.credentials.secretName: ",
            "Required value",
        ],
    ),
    case(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://es'], credentials: {secretName: My_Secret}}}}}",
        &[
            "spec.jaeger.storage.elasticsearch.credentials.secretName: ",
            "must be an object's name",
        ],
    ),
    case(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://es'], credentials: {password: x, secretName: a}}}}}",
        &["unknown field \"spec.jaeger.storage.elasticsearch.credentials.password\""],
    ),
    case(
        "{jaeger: {storage: {cassandra: {hosts: ['a b']}}}}",
        &["spec.jaeger.storage.cassandra.hosts[0]: ", "must be a host"],
    ),
    case(
        "{jaeger: {storage: {cassandra: {hosts: [a], keyspace: my-space}}}}",
        &[
            "spec.jaeger.storage.cassandra.keyspace: ",
            "must be letters, digits and '_'",
        ],
    ),
    case(
        "{jaeger: {storage: {cassandra: {hosts: [a], tls: {caSecretName: CA}}}}}",
        &[
            "spec.jaeger.storage.cassandra.tls.caSecretName: ",
            "must be an object's name",
        ],
    ),
    case(
        "{jaeger: {storage: {clickhouse: {addresses: [c]}}}}",
        &[
            "spec.jaeger.storage.clickhouse.addresses[0]: ",
            "must be a host with a port, such as \"clickhouse:9000\"",
        ],
    ),
    case(
        "{jaeger: {storage: {clickhouse: {addresses: ['c:0']}}}}",
        &[
            "spec.jaeger.storage.clickhouse.addresses[0]: ",
            "must be a host with a port",
        ],
    ),
    case(
        "{jaeger: {storage: {clickhouse: {addresses: ['c:9000'], tls: {}}}}}",
        &[
            "spec.jaeger.storage.clickhouse.tls: ",
            "set spec.jaeger.image",
        ],
    ),
];
