//! The page on isolation is what its command generates.

use std::fs;

use pinroute_testkit::isolation::documents;
use pinroute_testkit::paths::project_root;

#[test]
fn the_documents_are_up_to_date() {
    for document in documents(|_| ()) {
        let path = project_root().join("docs").join(document.name);
        let written = fs::read_to_string(&path).unwrap();
        assert!(written == document.text, "{} is out of date: pinroute-dev isolation", path.display());
    }
}
