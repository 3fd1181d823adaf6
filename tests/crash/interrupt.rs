//! Ctrl-C and `SIGTERM`: partial bodies are kept and continued.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::folder::{End, Folder, end};
use crate::site::{Line, Site};

/// Number of pages of the site.
const PAGES: usize = 120;

/// Waits until this number of requests has arrived.
fn in_flight(site: &Site, requests: usize) {
    let start = Instant::now();
    while site.asked() < requests {
        assert!(start.elapsed() < Duration::from_secs(30), "no requests");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_aborted_run_keeps_its_parts_and_the_next_one_continues_them() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let site = Site::start(PAGES, code);
        // The transfers in flight would take longer than the test waits.
        site.set_line(Line {
            cut: 0,
            held: 20,
            delayed: 0,
        });
        let folder = Folder::new(&site);
        let child = folder.start();
        in_flight(&site, PAGES / 4);
        // Lets the bytes sent last arrive.
        std::thread::sleep(Duration::from_millis(300));
        let status = end(child, End::Signal(signal, Some(Duration::from_millis(100))));
        assert_eq!(status.code(), Some(code as i32), "{}", folder.stderr());
        let left = folder.check(&site);
        let parts = folder.listed_parts(&site);
        assert!(!parts.is_empty(), "{}", folder.stderr());

        site.set_line(Line::default());
        site.take_asked();
        folder.finish(&site);
        let asked = site.take_asked();
        for part in parts {
            let range = format!("bytes={}-", part.length);
            let continues = asked.iter().any(|asked| {
                asked.page == part.page
                    && asked.range.as_ref() == Some(&range)
                    && asked.if_range.as_ref() == Some(&part.validator)
                    && asked.accept_encoding.as_deref() == Some("identity")
            });
            assert!(continues, "{part:?} was not continued: {asked:?}");
        }
        let again = asked.iter().find(|asked| left.done.contains(&asked.page));
        assert_eq!(again, None, "what was done is not asked for again");
    }
}

#[test]
fn an_interrupted_run_lets_what_is_in_flight_end() {
    let site = Site::start(PAGES, 1);
    site.set_line(Line {
        cut: 25,
        held: 0,
        delayed: 40,
    });
    let folder = Folder::new(&site);
    for requests in [5, 30, 60] {
        site.take_asked();
        let child = folder.start();
        in_flight(&site, requests);
        let status = end(child, End::Signal(Signal::INT, None));
        assert_eq!(status.code(), Some(130), "{}", folder.stderr());
        folder.check(&site);
        folder.listed_parts(&site);
    }
    folder.finish(&site);
}
