//! docs/sdks.md, and the folders of its programs.

use std::path::{Path, PathBuf};

use crate::lessons::script::blocks;

/// A language for which the page has a program.
pub struct Language {
    /// The heading of the section, and of the column in the table of variables.
    pub heading: &'static str,
    /// The folder in docs/sdks.
    pub folder: &'static str,
    /// The program's file, and the language of its listing on the page.
    pub program: &'static str,
    pub listing: &'static str,
    /// The other files of the folder.
    pub others: &'static [&'static str],
    /// The programs that the section's commands need.
    pub tools: &'static [&'static str],
}

pub const GO: Language = Language {
    heading: "Go",
    folder: "go",
    program: "main.go",
    listing: "go",
    others: &["go.mod", "go.sum"],
    tools: &["go"],
};
pub const JAVA: Language = Language {
    heading: "Java",
    folder: "java",
    program: "Service.java",
    listing: "java",
    others: &["pom.xml"],
    tools: &["java", "mvn"],
};
pub const JAVASCRIPT: Language = Language {
    heading: "JavaScript",
    folder: "javascript",
    program: "service.mjs",
    listing: "js",
    others: &["package.json", "package-lock.json"],
    tools: &["node", "npm"],
};
pub const PYTHON: Language = Language {
    heading: "Python",
    folder: "python",
    program: "service.py",
    listing: "python",
    others: &["requirements.txt"],
    tools: &["python3"],
};
pub const RUST: Language = Language {
    heading: "Rust",
    folder: "rust",
    program: "src/main.rs",
    listing: "rust",
    others: &["Cargo.toml"],
    tools: &["cargo"],
};

impl Language {
    pub fn service(&self) -> String {
        format!("example-{}", self.folder)
    }

    /// The program in the folder.
    pub fn source(&self) -> String {
        let path = root().join("docs/sdks").join(self.folder);
        std::fs::read_to_string(path.join(self.program)).unwrap()
    }

    /// The program on the page.
    pub fn printed(&self) -> String {
        blocks(&section(self.heading), self.listing)
    }

    /// The section's commands: the folder, preparations if any, and the program's start.
    pub fn commands(&self) -> String {
        blocks(&section(self.heading), "sh")
    }

    /// The section's commands without the preparations.
    pub fn start(&self) -> String {
        let commands = self.commands();
        let mut lines = commands.lines();
        let folder = lines.next().unwrap();
        format!("{folder}\n{}\n", lines.next_back().unwrap())
    }

    /// A copy of the parts of the repository that the commands use, so that they install nothing
    /// among the sources.
    pub fn checkout(&self) -> PathBuf {
        let checkout = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdks");
        let folder = Path::new("docs/sdks").join(self.folder);
        std::fs::create_dir_all(checkout.join(&folder)).unwrap();
        for file in self.others.iter().chain([&self.program]) {
            let file = folder.join(file);
            std::fs::copy(root().join(&file), checkout.join(&file)).unwrap();
        }
        checkout
    }

    /// True if the page says that the language's SDK reads a variable.
    pub fn reads(&self, variable: &str) -> bool {
        let section = section("Which SDK reads which");
        let mut rows = section.lines().filter(|line| line.starts_with('|'));
        let cells = |row: &str| -> Vec<String> {
            row.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let headings = cells(rows.next().unwrap());
        let column = headings.iter().position(|it| it == self.heading).unwrap();
        let name = format!("`{variable}`");
        let row = rows.map(cells).find(|row| row[1] == name);
        let cell = &row.unwrap_or_else(|| panic!("no row for {name}"))[column];
        match cell.split([',', ':']).next() {
            Some("yes") => true,
            Some("no") => false,
            _ => panic!("{name}, {}: neither yes nor no: {cell}", self.heading),
        }
    }
}

/// The settings that the page prints for all programs.
pub fn settings() -> String {
    blocks(&section("Settings"), "sh")
}

/// The text under a heading, up to the next one of any level.
pub fn section(heading: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/sdks.md")).unwrap();
    let is_heading = |line: &str| line.starts_with('#');
    let lines = page
        .lines()
        .skip_while(|line| !is_heading(line) || line.trim_start_matches(['#', ' ']) != heading)
        .skip(1);
    let mut in_block = false;
    let lines = lines.take_while(|line| {
        in_block ^= line.starts_with("```");
        in_block || !is_heading(line)
    });
    let section: Vec<&str> = lines.collect();
    assert!(
        !section.is_empty(),
        "docs/sdks.md has no section {heading:?}"
    );
    section.join("\n")
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
