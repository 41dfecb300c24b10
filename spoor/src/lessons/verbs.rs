//! The verbs.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use console::{Style, Term};
use opentelemetry_semantic_conventions::attribute::USER_AGENT_ORIGINAL;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    answers::Answers,
    lesson::Lesson,
    place::Place,
    policies::{Policies, ReadPoliciesError},
    report::Report,
    round, text,
};
use crate::{
    cli::{
        Invalid, LabArgs, Output, Table,
        out::{say, show},
    },
    traces::Source,
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// List the lessons, or show one
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor lesson                 which there are
  spoor lesson 1               one of them
  spoor lesson 1 | less        as Markdown
  spoor lesson 2 --start       begin a round of the lesson that has rounds")]
pub struct LessonArgs {
    /// Its number or name
    #[arg(value_name = "LESSON")]
    lesson: Option<Lesson>,
    /// Begin a round: something in the lab becomes slow for some requests
    #[arg(long, requires = "lesson")]
    start: bool,
    /// What to draw the round from [default: another one each time]
    #[arg(long, requires = "start")]
    seed: Option<u32>,
    /// How to print the list or the round
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    lab: LabArgs,
}

/// Look whether a lesson's exercise is done
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor check 1
  spoor check 4 --answer trace=ID --answer began=SERVICE
  spoor check 7 --answer requests=10000 --output json
  kubectl get samplingpolicy -o json |
    spoor check 7 --policies - --traces-url http://127.0.0.1:16686/jaeger

Ends with 0 when it is done, and with 1 when something is missing or wrong.")]
pub struct CheckArgs {
    /// The lesson's number or name
    #[arg(value_name = "LESSON")]
    lesson: Lesson,
    /// An answer that the lesson asks for; may stand several times
    #[arg(long = "answer", value_name = "TEXT")]
    answers: Vec<String>,
    /// How long to wait for spans that are on their way
    #[arg(long, env = "SPOOR_CHECK_WAIT", value_name = "DURATION", default_value = "5s", value_parser = crate::cli::duration)]
    wait: Duration,
    /// How old a trace may be that counts
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::cli::positive_duration)]
    lookback: Duration,
    /// A cluster's policies instead of the lab's: what `kubectl get samplingpolicy -o json`
    /// prints, in a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    lab: LabArgs,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A lesson for scripts.
#[derive(Serialize)]
struct Listed {
    number: u8,
    name: &'static str,
    title: &'static str,
}

/// A check for scripts.
#[derive(Serialize)]
struct Checked<'a> {
    lesson: u8,
    passed: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl LessonArgs {
    /// Lists the lessons, shows one, or begins a round.
    ///
    /// # Errors
    /// When a round can't be begun.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        if self.start {
            return self.begin_round().await;
        }
        match (self.lesson, self.output) {
            (Some(lesson), _) if std::io::stdout().is_terminal() => {
                let (_, columns) = Term::stdout().size();
                show!("{}", text::for_terminal(lesson.text(), columns.into()));
            }
            (Some(lesson), _) => show!("{}", lesson.text()),
            (None, Output::Table) => list(),
            (None, Output::Json) => {
                let listed = Lesson::ALL.iter().map(|lesson| Listed {
                    number: lesson.number(),
                    name: lesson.name(),
                    title: lesson.title(),
                });
                say!("{}", serde_json::to_string(&listed.collect::<Vec<_>>())?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn begin_round(&self) -> anyhow::Result<ExitCode> {
        if self.lesson != Some(Lesson::Bottleneck) {
            let wrong = "--start: only lesson 2 has rounds: spoor lesson 2 --start";
            return Err(Invalid(vec![wrong.to_owned()]).into());
        }
        let seed = self.seed.unwrap_or_else(rand::random);
        let marker = round::begin(seed, &self.lab.client(), &self.source.open()?).await?;
        let tag = format!("{USER_AGENT_ORIGINAL}={marker}");
        match self.output {
            Output::Json => say!("{}", serde_json::json!({ "tag": tag, "seed": seed })),
            Output::Table => {
                say!("Requests were sent, and something was slow. Their traces, in a second:");
                say!("  spoor traces --tag {tag}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list() {
    let mut table = Table::new(&["LESSON", "NAME", "TITLE"]);
    for lesson in Lesson::ALL {
        table.row([
            lesson.number().to_string(),
            lesson.name().to_owned(),
            lesson.title().to_owned(),
        ]);
    }
    show!("{table}");
    say!("\n`spoor lesson N` shows one, `spoor check N` looks whether it is done.");
}

impl CheckArgs {
    /// Looks until it is done, can't become so by waiting, or the time is over.
    ///
    /// # Errors
    /// When what is to be looked at can't be had.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        self.refuse_other_answers()?;
        let place = self.place()?;
        let deadline = Instant::now() + self.wait;
        let report = loop {
            let report = self.lesson.check(&place).await?;
            let is_over = Instant::now() >= deadline;
            if report.is_passed() || !report.may_pass_yet() || is_over {
                break report;
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.print(&report)?;
        Ok(if report.is_passed() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// An answer that is not looked at would seem to be right.
    fn refuse_other_answers(&self) -> anyhow::Result<()> {
        let asked = self.lesson.asked();
        let refusals = self.answers.iter().filter_map(|answer| {
            let refusal = asked.refusal(answer)?;
            Some(format!("--answer {answer:?}: {} {refusal}", self.lesson))
        });
        match refusals.collect::<Vec<_>>() {
            refusals if refusals.is_empty() => Ok(()),
            refusals => Err(Invalid(refusals).into()),
        }
    }

    fn place(&self) -> anyhow::Result<Place> {
        let lab = self.lab.client();
        let policies = match &self.policies {
            Some(path) => Policies::read(path).map_err(unreadable)?,
            None => Policies::Lab(lab.clone()),
        };
        Ok(Place {
            traces: self.source.open()?,
            lab,
            policies,
            answers: Answers::new(self.answers.clone()),
            began: Instant::now(),
            lookback: self.lookback,
        })
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        let (lesson, passed) = (self.lesson, report.is_passed());
        if self.output == Output::Json {
            let checked = Checked {
                lesson: lesson.number(),
                passed,
                report,
            };
            say!("{}", serde_json::to_string(&checked)?);
            return Ok(());
        }
        show!("{report}");
        if passed {
            let done = format!("Passed: {}.", lesson.title());
            say!("{}", Style::new().green().bold().apply_to(done));
        } else {
            say!("Not yet. `spoor lesson {}` has hints.", lesson.number());
        }
        Ok(())
    }
}

/// A file that was named wrongly is wrong usage.
fn unreadable(error: ReadPoliciesError) -> anyhow::Error {
    Invalid(vec![error.to_string()]).into()
}
