//! Compares the documentation with the project: the real parser loads its snippets, its tables are compared with
//! the code, and its links, commands and diffs are checked.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use pinroute_core::config::{self, PluginConfig};
use pinroute_core::metrics::{Counter, Gauge};
use pinroute_core::rejection::{Reason, Rejection};
use pinroute_testkit::paths::project_root;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Sources that pages are compared with.
const SERVER_VARIABLES: [&str; 2] = ["crates/cli/src/server.rs", "crates/cli/src/logging.rs"];
const INSPECT_VARIABLES: [&str; 3] =
    ["crates/cli/src/inspect.rs", "crates/cli/src/inspect/explain.rs", "crates/cli/src/inspect/preview.rs"];
const CLIENT_VARIABLES: &str = "crates/cli/src/client.rs";
const CONTROL_PLANE_VARIABLES: [&str; 2] = ["crates/cli/src/control_plane.rs", "crates/cli/src/logging.rs"];
const EXT_PROC_VARIABLES: [&str; 2] = ["crates/cli/src/ext_proc.rs", "crates/cli/src/logging.rs"];
const DEMO: &str = "xtask/src/demo.rs";

/// The most bytes the README may have: a stranger reads it in five minutes.
const README_LIMIT: usize = 9_000;

/// Turns of phrase that had to be read twice. Compared without case, punctuation and line breaks.
const FORBIDDEN: [&str; 17] = [
    "told",
    "believed",
    "who is believed first",
    "who says so",
    "stand in for",
    "stands in",
    "stood in",
    "take over",
    "takes over",
    "taken over",
    "took over",
    "becomes of",
    "became of",
    "concern of ours",
    "taken for true",
    "as there",
    "in vain",
];

/// A page, taken apart.
struct Page {
    path: PathBuf,
    blocks: Vec<Block>,
    /// The lines outside of blocks.
    prose: Vec<String>,
}

/// A fenced block.
struct Block {
    /// The text after the opening fence.
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
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
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

/// The files with this extension in a folder, as paths below the project's root.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let paths = fs::read_dir(project_root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let root = project_root();
    let paths: Vec<_> =
        paths.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
    assert!(!paths.is_empty(), "{folder:?} has no .{extension}");
    paths
}

/// The pages in the project's root and in `docs/`.
fn pages() -> Vec<Page> {
    ["", "docs"].iter().flat_map(|folder| files(folder, "md")).map(|path| page(&path)).collect()
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split(" |").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
}

impl Page {
    /// The rows of every table whose head begins with `first`, without the head; each is a list of cells.
    fn rows(&self, first: &str) -> Vec<Vec<String>> {
        let tables = self.prose.split(|line| !line.starts_with('|'));
        let tables = tables.filter(|table| table.first().is_some_and(|head| cells(head)[0] == first));
        let rows: Vec<_> = tables.flat_map(|table| table.iter().skip(2)).map(|row| cells(row)).collect();
        assert!(!rows.is_empty(), "{}: no table of {first:?}", self.path.display());
        rows
    }

    /// The addresses of headings on a rendered page.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        headings
            .map(|line| line.trim_start_matches('#').trim().to_lowercase())
            .map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-"))
            .collect()
    }
}

/// The texts in backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn yaml(text: &str, place: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{place}: not YAML: {error}\n{text}"))
}

fn plugin(document: &Value, place: &str) -> PluginConfig {
    let text = document.to_string();
    config::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{place}: {error}\n{text}"))
}

/// Parses every plugin configuration inside a piece of an Envoy configuration, and every one of a route.
fn plugins_within(document: &Value, place: &str) {
    if let Some(config) = document.pointer("/filter_metadata/pinroute") {
        config::parse_route(config).unwrap_or_else(|error| panic!("{place}: {error}\n{config}"));
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
    for Block { info, text, place } in pages().iter().flat_map(|page| &page.blocks) {
        let mut words = info.split(' ');
        let document = match words.next().unwrap_or_default() {
            "yaml" => yaml(text, place),
            "json" => serde_json::from_str(text).expect(place),
            "sh" | "diff" | "mermaid" | "text" => continue,
            other => panic!("{place}: a block of an unknown kind {other:?}"),
        };
        match (words.next(), words.next()) {
            (None, _) => plugins_within(&document, place),
            (Some("plugin"), None) => drop(plugin(&document, place)),
            (Some("plugin"), Some("defaults")) => {
                assert_eq!(plugin(&document, place), config::parse(b"").unwrap(), "{place}");
            }
            // The block shows the defaults of this field: without its members it means the same.
            (Some("plugin"), Some(field)) => {
                let mut without = document.clone();
                *without.pointer_mut(&format!("/{}", field.replace('.', "/"))).expect(place) = json!({});
                assert_eq!(plugin(&document, place), plugin(&without, place), "{place}");
            }
            (Some(other), _) => panic!("{place}: an unknown mark {other:?}"),
        }
        plugins += usize::from(info.contains("plugin"));
    }
    assert!(plugins >= 3, "only {plugins} blocks are configurations");
}

/// Adds the configurations of Wasm filters inside a piece of an Envoy configuration.
fn shipped_plugins<'d>(document: &'d Value, found: &mut Vec<&'d Value>) {
    if document["@type"] == "type.googleapis.com/google.protobuf.Struct" {
        found.push(&document["value"]);
    }
    match document {
        Value::Array(items) => items.iter().for_each(|item| shipped_plugins(item, found)),
        Value::Object(members) => members.values().for_each(|member| shipped_plugins(member, found)),
        _ => {}
    }
}

#[test]
fn recipes_show_the_plugins_of_their_files() {
    let recipes = files("docs", "md").into_iter().filter(|path| path.starts_with("docs/recipes"));
    let blocks: Vec<Block> = recipes.flat_map(|path| page(&path).blocks).collect();
    let shown = blocks.iter().filter(|block| block.info == "yaml plugin");
    let shown: Vec<Value> = shown.map(|block| yaml(&block.text, &block.place)).collect();
    for path in files("envoy/recipes", "yaml") {
        let document = yaml(&read(&path), &path);
        let mut plugins = Vec::new();
        shipped_plugins(&document, &mut plugins);
        assert!(!plugins.is_empty(), "{path}: no plugin");
        for plugin in plugins {
            assert!(shown.contains(plugin), "{path}: no recipe in docs/ shows\n{plugin}");
        }
    }
}

/// The table of needs has every recipe, and only tests that exist.
#[test]
fn every_recipe_is_listed_with_its_tests() {
    let page = page("docs/recipes.md");
    let tests: String = files("tests/e2e", "rs").iter().map(read).collect();
    let mut listed = BTreeSet::new();
    for row in page.rows("need") {
        let [_need, file, names, envoy] = row.as_slice() else { panic!("{row:?}") };
        let file = file.split("](../").nth(1).and_then(|rest| rest.strip_suffix(')')).expect(file);
        listed.insert(file.to_owned());
        // `cells` takes the backticks at the ends away.
        for name in names.split(", ").map(|name| name.trim_matches('`')) {
            assert!(tests.contains(&format!("#[test]\nfn {name}() {{")), "there is no test {name}");
        }
        assert_eq!(envoy, "all", "{row:?}");
    }
    assert_eq!(listed, files("envoy/recipes", "yaml").into_iter().collect());

    let matrix = read("tests/matrix.sh");
    let versions = matrix.split("versions=(").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    let (last, others) =
        versions.split(' ').collect::<Vec<_>>().split_last().map(|(a, b)| (*a, b.join(", "))).unwrap();
    let prose = page.prose.join("\n");
    assert!(
        prose.contains(&format!("*All* versions are {others} and {last}")),
        "the versions are {versions}"
    );
}

/// Adds the options below `within`, as paths, out of a JSON Schema.
fn explore(schema: &Value, within: &str, options: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let option = format!("{within}.{name}").trim_start_matches('.').to_owned();
        let alternatives = field["oneOf"].as_array().into_iter().flatten();
        alternatives.chain([field]).for_each(|schema| explore(schema, &option, options));
        options.insert(option);
    }
}

#[test]
fn the_reference_has_every_option_and_no_other() {
    let mut listed = BTreeSet::new();
    for row in page("docs/configuration.md").rows("option") {
        let [option, limits, _default, meaning, example] = row.as_slice() else { panic!("{row:?}") };
        assert!(listed.insert(option.clone()), "{option} is listed twice");
        assert!(!limits.is_empty() && !meaning.is_empty(), "{row:?}");
        let example = yaml(example, option);
        plugin(&example, option);
        assert!(example.pointer(&format!("/{}", option.replace('.', "/"))).is_some(), "{option}: {example}");
    }
    let mut real = BTreeSet::new();
    explore(&config::schema(), "", &mut real);
    // These rows refer to those of `index` and `target`.
    let outcomes = ["on_missing_key.target.", "on_not_found.target.", "on_error.target."];
    for prefix in ["fallback.index.", "fallback.target."].into_iter().chain(outcomes) {
        let inner = |prefix: &str| -> BTreeSet<String> {
            real.iter().filter_map(|option| option.strip_prefix(prefix)).map(str::to_owned).collect()
        };
        let (_, field) = prefix.split_once('.').unwrap();
        assert_eq!(inner(prefix), inner(field), "{prefix}");
        real.retain(|option| !option.starts_with(prefix));
    }
    // The places that a response may give are described once.
    real.retain(|option| !(option.starts_with("resolve.answer.") && option.ends_with(".header")));
    assert_eq!(listed, real);
}

#[test]
fn the_schema_is_that_of_the_code() {
    let written: Value = serde_json::from_str(&read("docs/pinroute.schema.json")).unwrap();
    assert!(written == config::schema(), "docs/pinroute.schema.json is outdated: run `cargo xtask schema`");
    let written: Value = serde_json::from_str(&read("docs/envoy.schema.json")).unwrap();
    assert!(
        written == config::envoy_schema(),
        "docs/envoy.schema.json is outdated: run `cargo xtask schema`"
    );
}

/// A shipped configuration is an example to follow.
#[test]
fn shipped_configurations_are_neither_wrong_nor_unwise() {
    let (mut checked, schema) = (0, "docs/envoy.schema.json");
    let folders = ["envoy", "envoy/ext-proc", "envoy/native", "envoy/recipes"];
    for path in folders.iter().flat_map(|folder| files(folder, "yaml")) {
        let text = read(&path);
        let report = match pinroute_inspect::check::check(&path, text.as_bytes()) {
            // The configuration of the service is a file of its own.
            Err(pinroute_inspect::ReadError::NoFilter)
                if path.contains("lua") || path.ends_with("-ext-proc.yaml") =>
            {
                continue;
            }
            report => report.expect(&path),
        };
        checked += 1;
        let has_warnings = report.configurations.iter().any(|found| !found.warnings.is_empty());
        assert!(report.ok && !has_warnings, "{report}");
        let up = "../".repeat(path.matches('/').count());
        let schema = if path.contains("ext-proc/") { "docs/pinroute.schema.json" } else { schema };
        let line = format!("# yaml-language-server: $schema={up}{schema}\n");
        assert!(text.starts_with(&line), "{path}: its first line is not {line}");
    }
    assert!(checked > 10 && project_root().join(schema).exists());
}

#[test]
fn the_sample_of_check_is_its_output() {
    let page = page("docs/command-line.md");
    let commands = page.blocks.iter().zip(page.blocks.iter().skip(1));
    let mut samples = 0;
    for (command, sample) in commands {
        let Some(file) = command.text.trim().strip_prefix("pinroute check ") else { continue };
        samples += 1;
        let report = pinroute_inspect::check::check(file, read(file).as_bytes()).unwrap();
        assert_eq!(sample.text, report.to_string(), "{}", sample.place);
    }
    assert!(samples > 0, "no sample was found");
}

#[test]
fn messages_are_quoted_word_for_word() {
    for row in page("docs/configuration.md").rows("configuration") {
        assert_eq!(config::parse(row[0].as_bytes()).expect_err(&row[0]).to_string(), row[1]);
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
        Rejection::NotFound(404),
        Rejection::NoHostport("hostport".into()),
        Rejection::TargetNotAllowed,
        Rejection::Overloaded,
        Rejection::NoEndpoints,
        Rejection::ShardDown,
        Rejection::RouteConfig,
        Rejection::Disabled,
    ];
    let reasons: BTreeSet<_> = all.iter().map(|one| one.reason().name()).collect();
    assert_eq!(
        reasons,
        BTreeSet::from(Reason::ALL.map(Reason::name)),
        "the list in this test lacks a rejection"
    );
    let rows = page("docs/operations.md").rows("case");
    let documented: BTreeSet<_> =
        rows.iter().map(|row| (row[1].split('`').take(2).collect::<String>(), row[2].clone())).collect();
    let expected = all
        .iter()
        .map(|one| (format!("{} {}", one.status(), one.body()), one.reason().name().to_owned()))
        .collect();
    assert_eq!(documented, expected);
}

/// The environment variables of the clap arguments in a source file.
fn variables(path: &str) -> BTreeSet<String> {
    let source = read(path);
    let arguments = source.split("#[arg(").skip(1).filter_map(|rest| {
        let (attribute, field) = rest.split_once(")]\n")?;
        let env = attribute.split(',').map(str::trim).find(|part| part.split(' ').next() == Some("env"))?;
        let name = env.split('"').nth(1).or_else(|| field.split(':').next())?;
        Some(name.trim().trim_start_matches("pub ").to_uppercase())
    });
    arguments.collect()
}

fn first_column(path: &str, head: &str) -> BTreeSet<String> {
    page(path).rows(head).into_iter().map(|mut row| row.swap_remove(0)).collect()
}

#[test]
fn metrics_and_variables_are_those_of_the_code() {
    let counters = Counter::all().map(|counter| match counter {
        Counter::Rejected(_) => "pinroute_rejected.REASON".to_owned(),
        Counter::Continued(_) => "pinroute_continued.REASON".to_owned(),
        plain => plain.name(),
    });
    let metrics: BTreeSet<_> = counters.chain(Gauge::ALL.map(|gauge| gauge.name().to_owned())).collect();
    assert_eq!(first_column("docs/operations.md", "metric"), metrics);

    let of_server = SERVER_VARIABLES.iter().flat_map(|path| variables(path)).collect();
    assert_eq!(first_column("docs/server.md", "variable"), of_server);
    let documented = first_column("docs/command-line.md", "variable");
    let documented: BTreeSet<_> =
        documented.iter().flat_map(|names| names.split("`, `")).map(str::to_owned).collect();
    let of_inspect = INSPECT_VARIABLES.iter().flat_map(|path| variables(path)).collect();
    assert_eq!(documented, of_inspect);
    assert_eq!(first_column("docs/client.md", "variable"), variables(CLIENT_VARIABLES));
    let of_control_plane = CONTROL_PLANE_VARIABLES.iter().flat_map(|path| variables(path)).collect();
    assert_eq!(first_column("docs/control-plane.md", "variable"), of_control_plane);
    let of_ext_proc = EXT_PROC_VARIABLES.iter().flat_map(|path| variables(path)).collect();
    assert_eq!(first_column("docs/command-line.md", "setting"), of_ext_proc);
}

#[test]
fn calls_and_metrics_of_the_control_plane_are_those_of_the_code() {
    let path = "docs/control-plane.md";
    let calls: BTreeSet<_> = first_column(path, "call")
        .iter()
        .flat_map(|cell| cell.split("`, `").map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|call| call.split_once(' ').map(|(_, path)| path.to_owned()))
        .collect();
    let source = read("crates/control-plane/src/api/mod.rs");
    let routes = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(calls, routes.filter(|route| !route.ends_with('/')).map(str::to_owned).collect());

    let metrics: BTreeSet<_> = first_column(path, "metric")
        .iter()
        .flat_map(|cell| {
            cell.split("`, `").map(|name| name.trim_end_matches("_total").to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let source = read("crates/control-plane/src/metrics.rs");
    let registered =
        ["register(\"", "(&mut registry, \""].into_iter().flat_map(|start| source.split(start).skip(1));
    let registered = registered.filter_map(|rest| rest.split('"').next().map(str::to_owned));
    assert_eq!(metrics, registered.collect());
}

/// Lines, without those that are comments.
fn without_comments<'t>(lines: impl Iterator<Item = &'t str>) -> String {
    lines.filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn differences_between_shipped_configurations_are_the_real_ones() {
    let mut diffs = 0;
    for Block { info, text, place } in pages().iter().flat_map(|page| &page.blocks) {
        let Some(files) = info.strip_prefix("diff") else { continue };
        diffs += 1;
        let (old, new) = files.trim().split_once(' ').expect(place);
        let [mut patched, expected] = [old, new].map(|file| without_comments(read(file).lines()));
        let hunks: Vec<&str> = text.split("@@").skip(2).step_by(2).collect();
        assert!(!hunks.is_empty(), "{place}");
        for hunk in hunks {
            let [before, after] = ['-', '+']
                .map(|own| without_comments(hunk.lines().filter_map(|line| line.strip_prefix([' ', own]))));
            assert_eq!(patched.matches(&before).count(), 1, "{place}: {old} does not have\n{before}");
            patched = patched.replace(&before, &after);
        }
        assert!(patched == expected, "{place}: the hunks do not turn {old} into {new}");
    }
    assert!(diffs >= 4, "only {diffs} differences");
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for Page { path, prose, .. } in pages() {
        let prose = prose.join("\n");
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(linked.exists(), "{}: {target} leads nowhere", path.display());
            if !anchor.is_empty() {
                let anchors = page(linked.to_str().unwrap()).anchors();
                assert!(anchors.contains(anchor), "{}: {target} leads nowhere", path.display());
            }
        }
    }
    assert!(links > 0, "no link was found");
}

#[test]
fn the_readmes_figures_are_those_of_the_benchmark() {
    let benchmark = page("docs/benchmark.md").rows("chain");
    let rows = page("README.md").rows("chain");
    assert!(rows.len() >= 6, "only {} rows", rows.len());
    for row in rows {
        assert!(benchmark.contains(&row), "docs/benchmark.md does not say {row:?}");
    }
}

#[test]
fn commands_exist() {
    let makefile = read("Makefile");
    let demo = read(DEMO)
        .replace("{LISTEN}", "127.0.0.1:10000")
        .replace("{ADMIN}", "127.0.0.1:9901")
        .replace("{SHARDS}", "127.0.0.1:10001")
        .replace("{SHARDS_ADMIN}", "127.0.0.1:9902");
    let help = read(CONTROL_PLANE_VARIABLES[0]).replace("\\\"", "\"");
    let (mut targets, mut calls) = (0, 0);
    let mut check = |place: &str, name: &str| {
        targets += 1;
        assert!(makefile.contains(&format!("\n{}:", name.trim())), "{place}: there is no `make {name}`");
    };
    for path in files(".github/workflows", "yml") {
        let text = read(&path);
        text.split("make ").skip(1).for_each(|rest| check(&path, rest.lines().next().unwrap()));
    }
    for Page { path, prose, blocks } in pages() {
        let prose = prose.join("\n");
        let shell = blocks.iter().filter(|block| block.info == "sh");
        let lines: Vec<&str> = shell.flat_map(|block| block.text.lines()).collect();
        let names = code_spans(&prose).chain(lines.iter().copied());
        names.filter_map(|it| it.strip_prefix("make ")).for_each(|name| check(path.to_str().unwrap(), name));
        for call in lines.iter().filter(|line| line.contains("127.0.0.1:")) {
            calls += 1;
            let is_known = demo.contains(call) || help.contains(call);
            assert!(is_known, "{}: neither the demo nor the help prints {call:?}", path.display());
        }
    }
    assert!(targets > 0 && calls > 0, "no command was found");
}

#[test]
fn the_readme_is_short() {
    let size = read("README.md").len();
    assert!(size <= README_LIMIT, "README.md has {size} bytes, {README_LIMIT} are allowed");
}

#[test]
fn pages_and_shipped_configurations_use_common_words() {
    let folders =
        [("", "md"), ("docs", "md"), ("envoy", "yaml"), ("envoy/recipes", "yaml"), ("envoy/lua", "lua")];
    for path in folders.iter().flat_map(|(folder, extension)| files(folder, extension)) {
        let text = read(&path).to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let text = words.fold(" ".to_owned(), |text, word| text + word + " ");
        for phrase in FORBIDDEN {
            assert!(!text.contains(&format!(" {phrase} ")), "{path}: has {phrase:?}");
        }
    }
}

/// The map of the code has to be right: every path in backticks exists.
#[test]
fn the_architecture_names_files_that_exist() {
    let prose = page("ARCHITECTURE.md").prose.join("\n");
    let paths = code_spans(&prose).filter(|span| span.contains('/') || span.ends_with(".rs"));
    let exists = |path: &&str| {
        ["", "crates/core/src"].iter().any(|root| project_root().join(root).join(path).exists())
    };
    let missing: Vec<_> = paths.filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names these: {missing:?}");
}
