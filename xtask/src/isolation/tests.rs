//! The generated documents in `docs/` are what the command generates.

use pinroute_testkit::paths::project_root;

use super::*;

#[test]
fn the_documents_are_up_to_date() {
    for document in documents(|_| ()).unwrap() {
        let path = project_root().join("docs").join(document.name);
        let written = fs::read_to_string(&path).unwrap();
        assert!(written == document.text, "{} is out of date: run `cargo xtask isolation`", path.display());
    }
}
