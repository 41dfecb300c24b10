//! The lessons of the lab in this process, for its console.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use jiff::Timestamp;
use opentelemetry_semantic_conventions::attribute::USER_AGENT_ORIGINAL;
use reqwest::Url;
use spoor_console::{
    BackendError,
    lessons::{Answer, LessonReport, LessonSummary, LessonText, Lessons, Question, Round},
};
use spoor_runtime::with_causes;
use tokio::{runtime::Handle, task::spawn_blocking, time::Instant};

use super::{
    answers::Answers, attempt, context::Context, lesson::Lesson, policies::Policies,
    progress::Progress, round,
};
use crate::{
    cli::{ClientError, LabClient},
    traces::{TraceClient, trace_client},
};

/// The maximum time to wait for spans to arrive, as in `spoor check`.
const WAIT: Duration = Duration::from_secs(5);
/// The maximum age of the traces considered, as in `spoor check`.
const LOOKBACK: Duration = Duration::from_secs(3_600);
/// The longest check, less than the console waits for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(25);

/// The lessons, with the clients that their checks use.
#[derive(Debug, Default)]
pub struct LabLessons {
    clients: OnceLock<Clients>,
}

#[derive(Clone, Debug)]
struct Clients {
    lab: LabClient,
    traces: TraceClient,
}

impl LabLessons {
    /// Sets the addresses of the lab, which are known once it has started. Until then, checks are
    /// refused.
    pub fn connect(&self, urls: &BTreeMap<String, String>) {
        let admin = urls.get("admin").and_then(|url| Url::parse(url).ok());
        if let (Some(admin), Some(traces)) = (admin, urls.get("traces")) {
            self.clients.get_or_init(|| Clients {
                lab: LabClient::new(admin),
                traces: trace_client(traces),
            });
        }
    }

    fn clients(&self) -> Result<Clients, BackendError> {
        let starting = || BackendError::Reach("the lab is starting; try again".to_owned());
        self.clients.get().cloned().ok_or_else(starting)
    }
}

#[async_trait]
impl Lessons for LabLessons {
    fn list(&self) -> Vec<LessonSummary> {
        let passed = Progress::load_default().passed();
        let summary = |lesson: &Lesson| {
            let number = number_of(*lesson);
            LessonSummary {
                number,
                title: lesson.title().to_owned(),
                teaches: lesson.teaches().to_owned(),
                needs: lesson.needs().to_owned(),
                is_passed: passed.contains(&number),
            }
        };
        Lesson::ALL.iter().map(summary).collect()
    }

    fn lesson(&self, number: usize) -> Option<LessonText> {
        let lesson = numbered(number).ok()?;
        let facts = lesson.facts();
        Some(LessonText {
            title: lesson.title().to_owned(),
            markdown: facts.text.to_owned(),
            questions: questions(lesson),
            has_rounds: lesson == Lesson::Bottleneck,
        })
    }

    async fn check(
        &self,
        number: usize,
        answers: Vec<Answer>,
    ) -> Result<LessonReport, BackendError> {
        let lesson = numbered(number)?;
        let answers = read_answers(lesson, &answers)?;
        let Clients { lab, traces } = self.clients()?;
        let context = Context {
            traces,
            lab: lab.clone(),
            policies: Policies::Lab(lab),
            answers,
            began: Instant::now(),
            lookback: LOOKBACK,
        };
        let report = run_apart(async move || {
            let check = attempt::check(lesson, &context, WAIT);
            let report = tokio::time::timeout(CHECK_TIMEOUT, check).await;
            report.with_context(|| format!("the check took longer than {CHECK_TIMEOUT:?}"))?
        })
        .await?;
        if report.is_passed() {
            save(number);
        }
        Ok(report.for_console())
    }

    async fn start_round(&self, number: usize) -> Result<Round, BackendError> {
        if numbered(number)? != Lesson::Bottleneck {
            let message = format!("lesson {number} has no rounds");
            return Err(BackendError::Find(message));
        }
        let Clients { lab, traces } = self.clients()?;
        let seed = rand::random();
        let marker = run_apart(async move || round::start(seed, &lab, &traces).await).await?;
        Ok(Round {
            tag: format!("{USER_AGENT_ORIGINAL}={marker}"),
        })
    }
}

fn number_of(lesson: Lesson) -> usize {
    lesson.facts().number.into()
}

fn numbered(number: usize) -> Result<Lesson, BackendError> {
    let mut lessons = Lesson::ALL.iter().copied();
    let found = lessons.find(|lesson| number_of(*lesson) == number);
    found.ok_or_else(|| BackendError::Find(format!("there is no lesson {number}")))
}

fn questions(lesson: Lesson) -> Vec<Question> {
    let questions = lesson.facts().answers.questions().into_iter();
    questions
        .map(|(key, placeholder, explanation)| Question {
            key: key.to_owned(),
            placeholder: placeholder.to_owned(),
            explanation: explanation.to_owned(),
        })
        .collect()
}

/// Validates the answers. The messages name fields of a form and not options.
fn read_answers(lesson: Lesson, given: &[Answer]) -> Result<Answers, BackendError> {
    let format = lesson.facts().answers;
    let (mut options, mut refusals) = (vec![], vec![]);
    for Answer { key, text } in given {
        let (name, option) = match key.as_str() {
            "" => ("answer", text.clone()),
            key => (key, format!("{key}={text}")),
        };
        if let Some(refusal) = format.refusal(&option) {
            refusals.push(format!("{name} {text:?}: {lesson} {refusal}"));
        }
        options.push(option);
    }
    if !refusals.is_empty() {
        return Err(BackendError::Validate(refusals));
    }
    Answers::new(lesson, format, options).map_err(BackendError::Validate)
}

/// Saves that a lesson was passed. If that fails, its exercise is still done.
fn save(number: usize) {
    if let Err(error) = Progress::load_default().record(number, Timestamp::now()) {
        let error = with_causes(&error);
        tracing::warn!(error, lesson = number, "cannot save the progress");
    }
}

/// Runs work on a thread that may block: a check may decode thousands of traces, which must not
/// delay the lab's listeners.
async fn run_apart<T: Send + 'static>(
    work: impl AsyncFnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, BackendError> {
    let runtime = Handle::current();
    let done = spawn_blocking(move || runtime.block_on(work())).await;
    let result = done.map_err(|error| BackendError::Reach(format!("the check failed: {error}")))?;
    result.map_err(backend_error)
}

fn backend_error(error: anyhow::Error) -> BackendError {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(message)) => BackendError::Refuse(message.clone()),
        _ => BackendError::Reach(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answer(key: &str, text: &str) -> Answer {
        Answer {
            key: key.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn lessons_have_texts_and_questions() {
        let lessons = LabLessons::default();
        let listed = lessons.list();
        assert_eq!(listed.len(), Lesson::ALL.len());
        for summary in listed {
            let lesson = lessons.lesson(summary.number).unwrap();
            assert_eq!(lesson.title, summary.title);
            for section in ["\n## Your turn\n", "\n## Hints\n"] {
                assert!(lesson.markdown.contains(section), "{}", summary.title);
            }
        }
        assert_eq!(lessons.lesson(2).unwrap().questions.len(), 1);
        assert_eq!(lessons.lesson(0), None);
    }

    #[test]
    fn malformed_answers_name_their_fields() {
        let wrong = [answer("trace", "42"), answer("began", "service-b")];
        let refused = read_answers(Lesson::Errors, &wrong).unwrap_err();
        let expected = "trace \"42\": lesson 4 asks for TRACE_ID here, which has 32 hexadecimal \
                        digits";
        assert_eq!(refused.to_string(), expected);
        let right = [answer("", "service-b: heavy_calc")];
        let answers = read_answers(Lesson::Bottleneck, &right).unwrap();
        assert_eq!(answers.one(), Some("service-b: heavy_calc"));
    }

    #[tokio::test]
    async fn checks_are_refused_until_the_lab_runs() {
        let lessons = LabLessons::default();
        let refused = lessons.check(1, vec![]).await.unwrap_err();
        assert!(matches!(refused, BackendError::Reach(_)), "{refused}");
        let refused = lessons.start_round(1).await.unwrap_err();
        assert!(matches!(refused, BackendError::Find(_)), "{refused}");
    }
}
