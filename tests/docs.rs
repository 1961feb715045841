//! What the documentation says is held against what the project does: its snippets are loaded by the real
//! parser, its tables are compared with the code, and its links and commands lead somewhere.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use pinroute_core::config::{self, Config};
use pinroute_core::step::Rejection;
use pinroute_testkit::paths::project_root;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A page, taken apart.
struct Page {
    path: PathBuf,
    blocks: Vec<Block>,
    /// The lines outside of blocks.
    prose: Vec<String>,
}

/// A fenced block.
struct Block {
    /// What stands behind the opening fence.
    info: String,
    text: String,
    /// For messages: file and line.
    place: String,
}

fn read(path: impl AsRef<Path>) -> String {
    let path = project_root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn page(path: &str) -> Page {
    let mut page = Page { path: project_root().join(path), blocks: Vec::new(), prose: Vec::new() };
    let mut open: Option<Block> = None;
    for (number, line) in read(path).lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, open.as_mut()) {
            (Some(info), None) => {
                let place = format!("{path}:{}", number + 1);
                open = Some(Block { info: info.trim().to_owned(), text: String::new(), place });
            }
            (Some(_), Some(_)) => page.blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => page.prose.push(line.to_owned()),
        }
    }
    assert!(open.is_none(), "{}: a block without an end", open.unwrap().place);
    page
}

/// The README and everything in `docs/`.
fn pages() -> Vec<Page> {
    let names = fs::read_dir(project_root().join("docs")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut paths: Vec<_> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    assert!(!paths.is_empty(), "docs/ has no page");
    paths.push("README.md".to_owned());
    paths.iter().map(|path| page(path)).collect()
}

impl Page {
    /// The rows of the first table below a heading, without its head; each is a list of cells.
    fn table(&self, heading: &str) -> Vec<Vec<String>> {
        let below = self.prose.iter().skip_while(|line| line.trim_start_matches('#').trim() != heading);
        let rows = below.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let cells = |line: &String| line.trim_matches('|').split(" |").map(|c| c.trim().to_owned()).collect();
        let rows: Vec<Vec<String>> = rows.skip(2).map(cells).collect();
        assert!(!rows.is_empty(), "{}: no table below {heading:?}", self.path.display());
        rows
    }

    /// The address a heading has on a rendered page.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        headings
            .map(|line| line.trim_start_matches('#').trim().to_lowercase())
            .map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-"))
            .collect()
    }
}

/// What stands in backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn yaml(text: &str, place: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{place}: not YAML: {error}\n{text}"))
}

fn plugin(document: &Value, place: &str) -> Config {
    let text = document.to_string();
    config::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{place}: {error}\n{text}"))
}

/// Every plugin configuration inside a piece of an Envoy configuration, and every one for a route.
fn plugins_within(document: &Value, place: &str) {
    if let Some(config) = document.pointer("/filter_metadata/pinroute") {
        let document = pinroute_core::json::parse(config.to_string().as_bytes()).unwrap();
        config::parse_for_route(&document).unwrap_or_else(|error| panic!("{place}: {error}\n{config}"));
    }
    let children: Vec<&Value> = match document {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    match (document["@type"].as_str(), &document["value"]) {
        (Some("type.googleapis.com/google.protobuf.Struct"), value) => drop(plugin(value, place)),
        (Some("type.googleapis.com/google.protobuf.StringValue"), value) => {
            drop(plugin(&serde_json::from_str(value.as_str().unwrap()).expect(place), place));
        }
        _ => children.into_iter().for_each(|child| plugins_within(child, place)),
    }
}

#[test]
fn every_block_is_what_it_says_it_is() {
    let mut plugins = 0;
    for block in pages().iter().flat_map(|page| &page.blocks) {
        let mut words = block.info.split(' ');
        let document = match words.next().unwrap_or_default() {
            "yaml" => yaml(&block.text, &block.place),
            "json" => serde_json::from_str(&block.text).expect(&block.place),
            "sh" | "diff" | "mermaid" | "text" => continue,
            other => panic!("{}: a block of an unknown kind {other:?}", block.place),
        };
        match (words.next(), words.next()) {
            (None, _) => plugins_within(&document, &block.place),
            (Some("plugin"), None) => drop(plugin(&document, &block.place)),
            (Some("plugin"), Some("defaults")) => {
                assert_eq!(plugin(&document, &block.place), config::parse(b"").unwrap(), "{}", block.place);
            }
            // All that this field holds says what it would mean empty.
            (Some("plugin"), Some(field)) => {
                let mut without = document.clone();
                *without.pointer_mut(&format!("/{}", field.replace('.', "/"))).expect(&block.place) =
                    json!({});
                assert_eq!(
                    plugin(&document, &block.place),
                    plugin(&without, &block.place),
                    "{}",
                    block.place
                );
            }
            (Some(other), _) => panic!("{}: an unknown mark {other:?}", block.place),
        }
        plugins += usize::from(block.info.contains("plugin"));
    }
    assert!(plugins >= 3, "only {plugins} blocks are configurations");
}

/// The options that the code takes, as paths.
#[derive(Default)]
struct Options {
    all: BTreeSet<String>,
    /// Those whose fields cannot be asked for, because the object around them needs others beside them.
    closed: BTreeSet<String>,
}

impl Options {
    /// Adds what may stand in `within`. An object that holds nothing but an unknown field is refused with
    /// the list of the fields there are.
    fn explore(&mut self, within: &str) {
        const UNKNOWN: &str = "no such field";
        let mut document = json!({ UNKNOWN: 0 });
        for name in within.rsplit('.').filter(|name| !name.is_empty()) {
            document = json!({ name: document });
        }
        if within.starts_with("fallback.target") {
            // Without its formula a fallback is looked at no further.
            document["fallback"]["index"] = json!({});
        }
        let error = config::parse(document.to_string().as_bytes()).expect_err(within);
        match error.path.strip_prefix(within) {
            // Something else than an object belongs here.
            Some("") if !within.is_empty() => {}
            Some(rest) if rest.trim_start_matches('.') == UNKNOWN => {
                for name in error.allowed.split(", ") {
                    let option = format!("{within}.{name}").trim_start_matches('.').to_owned();
                    self.explore(&option);
                    self.all.insert(option);
                }
            }
            None if !error.path.is_empty() && within.starts_with(&format!("{}.", error.path)) => {
                self.closed.insert(format!("{within}."));
            }
            _ => panic!("{within:?} cannot be looked into: {error}"),
        }
    }
}

#[test]
fn the_reference_has_every_option_and_no_other() {
    let rows = page("docs/configuration.md").table("Options");
    let mut listed = BTreeSet::new();
    for row in &rows {
        let [option, limits, _default, meaning, example] = row.as_slice() else { panic!("{row:?}") };
        let option = option.trim_matches('`');
        assert!(listed.insert(option.to_owned()), "{option} is listed twice");
        assert!(!limits.is_empty() && !meaning.is_empty(), "{row:?}");
        let example = yaml(example.trim_matches('`'), option);
        plugin(&example, option);
        assert!(example.pointer(&format!("/{}", option.replace('.', "/"))).is_some(), "{option}: {example}");
    }
    let mut real = Options::default();
    real.explore("");
    let missing: Vec<_> = real.all.difference(&listed).collect();
    assert!(missing.is_empty(), "the code takes these, the reference does not list them: {missing:?}");
    let may_be = |option: &str| real.closed.iter().any(|closed| option.starts_with(closed.as_str()));
    let unknown: Vec<_> = listed.difference(&real.all).filter(|option| !may_be(option)).collect();
    assert!(unknown.is_empty(), "the reference lists these, the code does not take them: {unknown:?}");
}

#[test]
fn messages_are_quoted_word_for_word() {
    for row in page("docs/configuration.md").table("A wrong configuration") {
        let [config, message] = [0, 1].map(|cell| row[cell].trim_matches('`'));
        assert_eq!(config::parse(config.as_bytes()).expect_err(config).to_string(), message);
    }
}

#[test]
fn every_rejection_is_documented() {
    let key = || "client_id".to_owned();
    let all = [
        Rejection::MissingKey(key()),
        Rejection::InvalidKey(key()),
        Rejection::CalloutFailed,
        Rejection::ResolverStatus(503),
        Rejection::NoHostport,
        Rejection::TargetNotAllowed,
        Rejection::Overloaded,
        Rejection::RouteConfig,
    ];
    let documented: BTreeSet<_> = page("README.md")
        .table("What a request sees")
        .into_iter()
        .map(|row| {
            let answer = row[1].split('`').take(2).collect::<String>();
            (answer, row[2].trim_matches('`').to_owned())
        })
        .collect();
    let expected =
        all.iter().map(|one| (format!("{} {}", one.status(), one.body()), one.reason().to_owned())).collect();
    assert_eq!(documented, expected);
    let reasons: BTreeSet<_> = all.iter().map(Rejection::reason).collect();
    assert_eq!(
        reasons,
        BTreeSet::from(Rejection::REASONS),
        "the list in this test has to have every rejection"
    );
}

/// The string literals of a source file that come before its tests and pass a test.
fn literals(path: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let source = read(path);
    let code = source.split("#[cfg(test)]").next().unwrap();
    code.split('"').skip(1).step_by(2).filter(|text| wanted(text)).map(str::to_owned).collect()
}

fn first_column(heading: &str) -> BTreeSet<String> {
    let rows = page("README.md").table(heading);
    rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
}

#[test]
fn metrics_and_variables_are_those_of_the_code() {
    let metrics = literals("src/metrics.rs", |text| text.starts_with("pinroute_"));
    let metrics: BTreeSet<_> = metrics.iter().map(|name| name.replace("{reason}", "REASON")).collect();
    assert_eq!(first_column("Metrics"), metrics);

    let upper = |text: &str| text.len() > 2 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let mut variables = literals("crates/server/src/config.rs", upper);
    variables.extend(literals("crates/server/src/logging.rs", upper));
    assert_eq!(first_column("The server"), variables);
}

/// Lines, without those that are comments.
fn without_comments<'t>(lines: impl Iterator<Item = &'t str>) -> String {
    lines.filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn differences_between_shipped_configurations_are_the_real_ones() {
    let mut diffs = 0;
    for block in pages().iter().flat_map(|page| &page.blocks) {
        let Some(files) = block.info.strip_prefix("diff") else { continue };
        diffs += 1;
        let (old, new) = files.trim().split_once(' ').expect(&block.place);
        let [mut patched, expected] = [old, new].map(|file| without_comments(read(file).lines()));
        let hunks: Vec<&str> = block.text.split("@@").skip(2).step_by(2).collect();
        assert!(!hunks.is_empty(), "{}", block.place);
        for hunk in hunks {
            let [before, after] = ['-', '+']
                .map(|own| without_comments(hunk.lines().filter_map(|line| line.strip_prefix([' ', own]))));
            assert_eq!(patched.matches(&before).count(), 1, "{}: {old} does not have\n{before}", block.place);
            patched = patched.replace(&before, &after);
        }
        assert!(patched == expected, "{}: the hunks do not turn {old} into {new}", block.place);
    }
    assert!(diffs >= 4, "only {diffs} differences");
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let prose = page.prose.join("\n");
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.path.clone() } else { page.path.with_file_name(file) };
            assert!(path.exists(), "{}: {target} leads nowhere", page.path.display());
            if !anchor.is_empty() {
                let path = path.canonicalize().unwrap();
                let path = path.strip_prefix(project_root().canonicalize().unwrap()).unwrap().to_owned();
                let anchors = self::page(path.to_str().unwrap()).anchors();
                assert!(anchors.contains(anchor), "{}: {target} leads nowhere", page.path.display());
            }
        }
    }
    assert!(links > 0, "no link was found");
}

#[test]
fn the_readmes_figures_are_those_of_the_benchmark() {
    let (readme, benchmark) = (read("README.md"), read("docs/benchmark.md"));
    let (_, section) = readme.split_once("\n## How fast\n").expect("a section on speed");
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 10, "only {} rows", rows.len());
    for row in rows {
        assert!(benchmark.lines().any(|line| line == row), "docs/benchmark.md does not say {row:?}");
    }
}

#[test]
fn commands_exist() {
    let makefile = read("Makefile");
    let demo = read("crates/testkit/src/bin/pinroute-dev.rs")
        .replace("{LISTEN}", "127.0.0.1:10000")
        .replace("{ADMIN}", "127.0.0.1:9901")
        .replace("{SHARDS}", "127.0.0.1:10001")
        .replace("{SHARDS_ADMIN}", "127.0.0.1:9902");
    let (mut targets, mut calls) = (0, 0);
    for page in pages() {
        let prose = page.prose.join("\n");
        let shell = page.blocks.iter().filter(|block| block.info == "sh");
        let lines: Vec<&str> = shell.flat_map(|block| block.text.lines()).collect();
        for name in code_spans(&prose).chain(lines.iter().copied()).filter_map(|it| it.strip_prefix("make "))
        {
            targets += 1;
            let rule = format!("\n{}:", name.trim());
            assert!(makefile.contains(&rule), "{}: there is no `make {name}`", page.path.display());
        }
        for call in lines.iter().filter(|line| line.contains("127.0.0.1:")) {
            calls += 1;
            assert!(demo.contains(call), "{}: the demo does not say {call:?}", page.path.display());
        }
    }
    assert!(targets > 0 && calls > 0, "no command was found");
}
