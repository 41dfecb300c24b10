//! The lessons as files.

use std::path::{Path, PathBuf};

pub struct Lesson {
    pub number: usize,
    pub text: String,
    stem: String,
}

pub struct Solution {
    pub path: PathBuf,
    pub text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lessons")
}

/// All lessons, in their order.
pub fn lessons() -> Vec<Lesson> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut lessons: Vec<Lesson> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .map(|path| Lesson::read(&path))
        .collect();
    lessons.sort_by_key(|lesson| lesson.number);
    lessons
}

impl Lesson {
    pub fn of(number: usize) -> Self {
        let mut lessons = lessons().into_iter();
        lessons.find(|lesson| lesson.number == number).unwrap()
    }

    fn read(path: &Path) -> Self {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (number, _) = stem.split_once('-').unwrap();
        Self {
            number: number.parse().unwrap(),
            text: std::fs::read_to_string(path).unwrap(),
            stem,
        }
    }

    /// The solution that the check accepts.
    pub fn solution(&self) -> Solution {
        Solution::read(format!("{}.sh", self.stem))
    }

    /// The solution that the check rejects.
    pub fn wrong_solution(&self) -> Solution {
        Solution::read(format!("{}.wrong.sh", self.stem))
    }
}

impl Solution {
    fn read(name: String) -> Self {
        let path = folder().join("solutions").join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// The text that the check must print about it: `# The check reports: …`.
    pub fn expected_text(&self) -> String {
        let mark = "# The check reports: ";
        let line = self.text.lines().find_map(|line| line.strip_prefix(mark));
        line.unwrap_or_else(|| panic!("{}: no {mark:?}", self.path.display()))
            .to_owned()
    }
}
