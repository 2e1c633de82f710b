//! A short run of each target with a fixed seed: what CI looks at every time.

use fuzz::{Limit, run, targets};

/// The same inputs on every machine, unless it is so slow that the time ends them.
const LIMIT: Limit = Limit {
    inputs: 60_000,
    seconds: 6,
};

fn check(name: &str) {
    let target = targets::ALL.iter().find(|target| target.name == name);
    let target = target.expect("a target of this name");
    match run(target, 1, LIMIT, None) {
        Ok(summary) => println!("{name}: {summary:?}"),
        Err(finding) => panic!("{finding}"),
    }
}

macro_rules! bounded {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let names = [$(stringify!($name)),*];
            for target in targets::ALL {
                assert!(names.contains(&target.name), "{} has no test", target.name);
            }
        }
    };
}

bounded! { frames messages batches codecs produce metadata snapshots journal files settings }
