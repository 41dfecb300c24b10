//! What each lesson teaches and needs, for a list of lessons.

use super::lesson::Lesson;

impl Lesson {
    /// The aim of the lesson, in one sentence.
    pub fn teaches(self) -> &'static str {
        match self {
            Self::FirstTrace => "What a span contains, and how spans become a trace.",
            Self::Bottleneck => "How to find the part of a request that takes the time.",
            Self::ManualSpan => "How to add a span of your own to a trace.",
            Self::Errors => "How to find the service in which an error began.",
            Self::ContextPropagation => {
                "What travels between services, and why an edge must not trust it."
            }
            Self::Route => "What a stage that holds traces can do, and what it costs.",
            Self::Rates => "How certain an observed rate is, and how many traces that takes.",
            Self::KeepErrors => "How a tail rule keeps the trace of every failed request.",
            Self::Conflict => "Which of two policies wins, and how each author can see it.",
            Self::MetricsBesideTraces => "How an exemplar leads from a metric to a trace.",
        }
    }

    /// The services and programs that the lesson needs.
    pub fn needs(self) -> &'static str {
        match self {
            Self::FirstTrace => "a terminal with curl and openssl",
            Self::Bottleneck => "service-a, gateway and preprocessing",
            Self::ManualSpan => "service-a, and a terminal with curl",
            Self::Errors => "service-a and service-b",
            Self::ContextPropagation => "bands and reviews, and a terminal with curl and openssl",
            Self::Route => "service-a, and a terminal with curl",
            Self::Rates => "service-a",
            Self::KeepErrors => "service-a and service-b",
            Self::Conflict => "service-a",
            Self::MetricsBesideTraces => "tasks, and a terminal with curl",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons_need_the_services_they_request() {
        for lesson in Lesson::ALL {
            for service in lesson.requested_services() {
                assert!(lesson.needs().contains(service), "{lesson}: {service}");
            }
        }
    }
}
