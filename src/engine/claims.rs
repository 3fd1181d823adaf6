//! Which line a file belongs to, where lines name their files: two that want one file for
//! different bodies would overwrite each other without a word.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use crate::model::{Job, Place, RelPath};

/// The files that are taken. It holds a few dozen bytes for each, and nothing until a line
/// comes from a list that can name files: files named by URLs never meet.
#[derive(Debug, Default)]
pub struct Claims {
    keys: (RandomState, RandomState),
    taken: HashMap<u128, Claim>,
}

#[derive(Debug)]
struct Claim {
    job: u128,
    place: Place,
}

impl Claims {
    /// Whether this job asks for its file at all.
    pub fn concern(job: &Job) -> bool {
        // All jobs of a run in which lines can name files have wishes, and no others.
        job.wish.is_some()
    }

    /// Takes the file for the job. Equal lines share it.
    ///
    /// # Errors
    /// Where the line stands that has it, when that is for another body.
    pub fn claim(&mut self, job: &Job, file: &RelPath) -> Result<(), Place> {
        // Some disks don't tell upper from lower case.
        let file = self.hash(&file.as_str().to_lowercase());
        let request = job.wish.as_ref().and_then(|wish| wish.request_digest());
        let identity = self.hash(&(job.url.as_str(), request));
        let claim = self.taken.entry(file).or_insert_with(|| Claim {
            job: identity,
            place: job.place.clone(),
        });
        if claim.job == identity {
            Ok(())
        } else {
            Err(claim.place.clone())
        }
    }

    fn hash(&self, what: &impl Hash) -> u128 {
        let half = |state: &RandomState| u128::from(state.hash_one(what));
        half(&self.keys.0) << 64 | half(&self.keys.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Wish;
    use http::Method;
    use url::Url;

    fn job(line: u64, url: &str, wish: Option<Wish>) -> Job {
        Job {
            place: Place {
                number: line,
                input: "-".into(),
                line,
            },
            url: Url::parse(url).unwrap(),
            credentials: None,
            raw: None,
            wish: wish.map(Box::new),
        }
    }

    fn named(file: &str) -> Wish {
        Wish {
            file: Some(RelPath::parse(file).unwrap()),
            ..Wish::default()
        }
    }

    #[test]
    fn a_file_belongs_to_one_body() {
        let mut claims = Claims::default();
        let mut claim = |job: &Job| {
            let file = job.named_file().unwrap();
            claims.claim(job, file).map_err(|place| place.line)
        };
        assert_eq!(claim(&job(1, "http://a/", Some(named("x")))), Ok(()));
        assert_eq!(
            claim(&job(2, "http://a/", Some(named("x")))),
            Ok(()),
            "equal"
        );
        assert_eq!(claim(&job(3, "http://b/", Some(named("x")))), Err(1));
        assert_eq!(
            claim(&job(4, "http://b/", Some(named("X")))),
            Err(1),
            "case"
        );
        assert_eq!(claim(&job(5, "http://b/", Some(named("y")))), Ok(()));
        let post = Wish {
            method: Some(Method::POST),
            ..named("y")
        };
        assert_eq!(claim(&job(6, "http://b/", Some(post))), Err(5), "request");
    }

    #[test]
    fn a_line_that_can_name_no_file_asks_for_none() {
        assert!(!Claims::concern(&job(1, "http://a/", None)));
        assert!(Claims::concern(&job(1, "http://a/", Some(Wish::default()))));
    }
}
