//! `./build.sh demo`: the whole mission, from the upload of the ZIP to a deletion that is held back.

use sandbox::demo::walk::walk;

use crate::support::working_zip;

#[test]
fn the_whole_mission() {
    walk(working_zip()).unwrap();
}
