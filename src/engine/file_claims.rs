//! Which line a file belongs to, where lines name their files: two that want one file for
//! different bodies would overwrite each other without a word.

use std::sync::Arc;

use crate::model::{CompactMap, Job, KeyHasher, RelPath};

/// The files that are taken. It holds 32 bytes for each, and nothing until a line comes from a
/// list that can name files: files named by URLs never meet.
#[derive(Debug, Default)]
pub struct Claims {
    keys: KeyHasher,
    /// The numbers of claims, by file.
    files: CompactMap,
    claims: Vec<Claim>,
    /// Inputs, each with the number of its first claim.
    inputs: Vec<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Claim {
    /// A hash of what is fetched.
    job: u64,
    line: u64,
}

/// The line that has a file already.
#[derive(Debug, PartialEq, Eq)]
pub struct ClaimHolder {
    pub input: Arc<str>,
    pub line: u64,
}

impl Claims {
    /// Whether this job asks for its file at all.
    pub fn applies_to(job: &Job) -> bool {
        // All jobs of a run in which lines can name files have wishes, and no others.
        job.wish.is_some()
    }

    /// Takes the file for the job. Equal lines share it.
    ///
    /// # Errors
    /// The line that has it, when that is for another body.
    pub fn claim(
        &mut self,
        job: &Job,
        file: &RelPath,
        request: Option<&str>,
    ) -> Result<(), ClaimHolder> {
        // Some disks don't tell upper from lower case.
        let file = self.keys.of(&file.as_str().to_lowercase());
        let identity = self.keys.of(&(job.url.as_str(), request)).short();
        if let Some(number) = self.files.get(file) {
            return self.share(number, identity);
        }
        let number = self.claims.len() as u64;
        self.claims.push(Claim {
            job: identity,
            line: job.place.line,
        });
        // Lines come input by input.
        let last = self.inputs.last();
        if last.is_none_or(|(_, input)| *input != job.place.input) {
            self.inputs.push((number, Arc::clone(&job.place.input)));
        }
        self.files.put(file, number);
        Ok(())
    }

    fn share(&self, number: u64, job: u64) -> Result<(), ClaimHolder> {
        let claim = self.claims.get(number as usize);
        let Some(claim) = claim.filter(|claim| claim.job != job) else {
            return Ok(());
        };
        let behind = self.inputs.partition_point(|(first, _)| *first <= number);
        let input = behind.checked_sub(1).and_then(|last| self.inputs.get(last));
        Err(ClaimHolder {
            input: input.map_or_else(Arc::default, |(_, name)| Arc::clone(name)),
            line: claim.line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InputPosition, LineOptions};
    use http::Method;
    use url::Url;

    fn job(line: u64, url: &str, wish: Option<LineOptions>) -> Job {
        Job {
            place: InputPosition {
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

    fn named(file: &str) -> LineOptions {
        LineOptions {
            file: Some(RelPath::parse(file).unwrap()),
            ..LineOptions::default()
        }
    }

    #[test]
    fn a_file_belongs_to_one_body() {
        let mut claims = Claims::default();
        let mut claim = |job: &Job| {
            let file = job.file_override().unwrap();
            let method = job.wish.as_ref().unwrap().method.as_ref();
            let request = method.map(Method::as_str);
            claims.claim(job, file, request).map_err(|place| place.line)
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
        let post = LineOptions {
            method: Some(Method::POST),
            ..named("y")
        };
        assert_eq!(claim(&job(6, "http://b/", Some(post))), Err(5), "request");
    }

    #[test]
    fn of_many_files_in_several_lists_each_knows_its_line() {
        let mut claims = Claims::default();
        let mut claim = |input: &str, line: u64, url: &str| {
            let mut job = job(line, url, Some(named(&format!("f{line}"))));
            job.place.input = input.into();
            let file = job.file_override().unwrap();
            claims.claim(&job, file, None)
        };
        for line in 0..1000 {
            let input = format!("list{}", line / 300);
            assert_eq!(claim(&input, line, "http://a/"), Ok(()));
        }
        for line in 0..1000 {
            let holder = ClaimHolder {
                input: format!("list{}", line / 300).into(),
                line,
            };
            assert_eq!(claim("more", line, "http://a/"), Ok(()));
            assert_eq!(claim("more", line, "http://b/"), Err(holder));
        }
        assert_eq!(size_of::<Claim>(), 16);
    }

    #[test]
    fn a_line_that_can_name_no_file_asks_for_none() {
        assert!(!Claims::applies_to(&job(1, "http://a/", None)));
        assert!(Claims::applies_to(&job(
            1,
            "http://a/",
            Some(LineOptions::default())
        )));
    }
}
