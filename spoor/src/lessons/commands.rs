//! The subcommands `lesson` and `check`.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use console::{Style, Term};
use jiff::Timestamp;
use opentelemetry_semantic_conventions::attribute::USER_AGENT_ORIGINAL;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    answers::Answers,
    attempt,
    context::Context,
    lesson::{Facts, Lesson},
    policies::Policies,
    progress::Progress,
    report::Report,
    round, text,
};
use crate::{
    cli::{
        Invalid, LabArgs, Output, TextTable, exit_code,
        out::{errln, out, outln},
        whole_number,
    },
    traces::Source,
};

/// List the lessons, or show one
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor lesson                 list the lessons
  spoor lesson 1               show a lesson
  spoor lesson 1 --raw | less  show a lesson as Markdown
  spoor lesson 2 --start       start a round of lesson 2")]
pub struct LessonArgs {
    /// The lesson's number or name
    #[arg(value_name = "LESSON")]
    lesson: Option<Lesson>,
    /// Print the lesson as Markdown, as is always done if the output is a file or pipe
    #[arg(long, requires = "lesson", conflicts_with = "start")]
    raw: bool,
    /// Start a round, in which something in the lab is slow for some requests
    #[arg(long, requires = "lesson")]
    start: bool,
    /// Seed that determines what is slow in the round [default: random]
    #[arg(long, requires = "start", value_parser = whole_number(0..=u32::MAX, 7))]
    seed: Option<u32>,
    /// Output format of the list or the round
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    lab: LabArgs,
}

/// Check a lesson's exercise
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor check 1
  spoor check 4 --answer trace=ID --answer began=SERVICE
  spoor check 7 --answer requests=10000 --output json
  kubectl get samplingpolicy -o json |
    spoor check 7 --policies - --traces-url http://127.0.0.1:16686/jaeger

Exits with 0 if the exercise is done, with 1 if something is missing or wrong, and with 2 after an
error, such as no response from the lab.")]
pub struct CheckArgs {
    /// The lesson's number or name
    #[arg(value_name = "LESSON")]
    lesson: Lesson,
    /// An answer that the lesson asks for; can be repeated
    #[arg(long = "answer", value_name = "TEXT")]
    answers: Vec<String>,
    /// Maximum time to wait for spans to arrive
    #[arg(long, env = "SPOOR_CHECK_WAIT", value_name = "DURATION", default_value = "5s", value_parser = crate::cli::duration)]
    wait: Duration,
    /// Maximum age of the traces considered
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::cli::positive_duration)]
    lookback: Duration,
    /// File with a cluster's policies, to check instead of the lab's: the output of `kubectl get
    /// samplingpolicy -o json`, or - for standard input
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    lab: LabArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A check in JSON output.
#[derive(Serialize)]
struct Checked<'a> {
    lesson: u8,
    passed: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl LessonArgs {
    /// Lists the lessons, shows one, or starts a round.
    ///
    /// # Errors
    /// The error of starting a round.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        if self.start {
            return self.start_round().await;
        }
        match (self.lesson, self.output) {
            // A file or pipe gets the Markdown unchanged.
            (Some(lesson), _) if !self.raw && std::io::stdout().is_terminal() => {
                let (_, columns) = Term::stdout().size();
                let text = text::for_terminal(lesson.facts().text, columns.into());
                out!("{text}");
                outln!("\n{}", Progress::load_default().summary());
            }
            (Some(lesson), _) => out!("{}", lesson.facts().text),
            (None, Output::Table) => list(),
            (None, Output::Json) => {
                let done = Progress::load_default().passed();
                let listed = Lesson::ALL.iter().map(|lesson| {
                    let (Facts { number, name, .. }, title) = (lesson.facts(), lesson.title());
                    let passed = done.contains(&usize::from(number));
                    serde_json::json!({
                        "number": number,
                        "name": name,
                        "title": title,
                        "passed": passed,
                    })
                });
                outln!("{}", listed.collect::<serde_json::Value>());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn start_round(&self) -> anyhow::Result<ExitCode> {
        if self.lesson != Some(Lesson::Bottleneck) {
            let wrong = "--start: only lesson 2 has rounds; use spoor lesson 2 --start";
            return Err(Invalid(vec![wrong.to_owned()]).into());
        }
        // Printed only as JSON, since it determines what is slow.
        let seed = self.seed.unwrap_or_else(rand::random);
        let traces = self.source.open(Some(&self.lab)).await?;
        let marker = round::start(seed, &self.lab.client(), &traces).await?;
        let tag = format!("{USER_AGENT_ORIGINAL}={marker}");
        match self.output {
            Output::Json => outln!("{}", serde_json::json!({ "tag": tag, "seed": seed })),
            Output::Table => {
                outln!("Requests were sent, and something was slow. To list their traces:");
                outln!("  spoor traces --tag {tag}{}", self.lab.option());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list() {
    let progress = Progress::load_default();
    let passed = progress.passed();
    let mut table = TextTable::new(&["LESSON", "PASSED", "NAME", "TITLE"]);
    for lesson in Lesson::ALL {
        let Facts { number, name, .. } = lesson.facts();
        let mark = match passed.contains(&usize::from(number)) {
            true => "✓".to_owned(),
            false => String::new(),
        };
        table.row([number.to_string(), mark, name.into(), lesson.title().into()]);
    }
    out!("{table}");
    outln!(
        "\n{}. `spoor lesson N` shows a lesson, `spoor check N` checks its exercise.",
        progress.summary()
    );
}

impl CheckArgs {
    /// Checks until the exercise is done, no span is missing any more, or the wait is over.
    ///
    /// # Errors
    /// An invalid answer, or data that cannot be read.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let context = self.context().await?;
        let report = attempt::check(self.lesson, &context, self.wait).await?;
        let mut progress = Progress::load_default();
        if report.is_passed() {
            let number = usize::from(self.lesson.facts().number);
            // The exercise is done in any case.
            if let Err(error) = progress.record(number, Timestamp::now()) {
                let causes = spoor_runtime::with_causes(&error);
                errln!("Warning: the progress is not saved: {causes}");
            }
        }
        self.print(&report, &progress)?;
        Ok(exit_code(report.is_passed()))
    }

    async fn context(&self) -> anyhow::Result<Context> {
        let format = self.lesson.facts().answers;
        let answers = Answers::new(self.lesson, format, self.answers.clone()).map_err(Invalid)?;
        let lab = self.lab.client();
        // Before standard input is read, which may take seconds to come from a cluster.
        let began = Instant::now();
        let policies = match &self.policies {
            Some(path) => Policies::read(path)?,
            None => Policies::Lab(lab.clone()),
        };
        Ok(Context {
            traces: self.source.open(Some(&self.lab)).await?,
            lab,
            policies,
            answers,
            began,
            lookback: self.lookback,
        })
    }

    fn print(&self, report: &Report, progress: &Progress) -> anyhow::Result<()> {
        let (lesson, passed) = (self.lesson, report.is_passed());
        if self.output == Output::Json {
            let checked = Checked {
                lesson: lesson.facts().number,
                passed,
                report,
            };
            outln!("{}", serde_json::to_string(&checked)?);
            return Ok(());
        }
        out!("{report}");
        if passed {
            let done = format!("Passed: {}.", lesson.title());
            outln!("{}", Style::new().green().bold().apply_to(done));
            outln!("{}.", progress.summary());
        } else {
            let number = lesson.facts().number;
            outln!("Not done yet. `spoor lesson {number}` has hints.");
        }
        Ok(())
    }
}
