//! Tracks which input line owns which file when lines name their files. Without it, two lines with
//! the same file and different bodies would silently overwrite each other.

use std::sync::Arc;

use crate::model::{CompactMap, Job, KeyHasher, RelPath};

/// The files claimed so far, and the directories they are in. Takes 32 bytes per file, 16 per
/// directory, and nothing for lists that cannot name files: file names derived from URLs never
/// collide.
#[derive(Debug, Default)]
pub(super) struct Claims {
    keys: KeyHasher,
    /// Indices into `claims`, by file and by directory, whose key ends with a slash.
    files: CompactMap,
    claims: Vec<Claim>,
    /// Inputs, each with the index of its first claim.
    inputs: Vec<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Claim {
    /// Hash of the URL and request.
    job: u64,
    line: u64,
}

/// The input line that owns a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClaimHolder {
    pub input: Arc<str>,
    pub line: u64,
    /// Whether it is the same file, and not one where the other needs a directory.
    pub is_same_file: bool,
}

impl Claims {
    /// Whether this job has to claim its file.
    pub(super) fn applies_to(job: &Job) -> bool {
        // All jobs from lists that can name files have line options, and a few others.
        job.options.is_some() && !job.is_auxiliary()
    }

    /// Claims a file for a job. Equal lines share their file.
    ///
    /// # Errors
    /// The line that owns the file, if it is for another body, or the line that needs a file where
    /// this one needs a directory, or the other way round.
    pub(super) fn claim(
        &mut self,
        job: &Job,
        file: &RelPath,
        request: Option<&str>,
    ) -> Result<(), ClaimHolder> {
        // Some file systems are case-insensitive.
        let path = file.as_str().to_lowercase();
        let file = self.keys.of(&path);
        let identity = self.keys.of(&(job.url.as_str(), request)).short();
        if let Some(number) = self.files.get(file) {
            return self.share(number, identity);
        }
        let number = self.claims.len() as u64;
        self.claim_directories(&path, number)?;
        self.claims.push(Claim {
            job: identity,
            line: job.position.line,
        });
        // Inputs are read one after another, so the last entry is the current one.
        let last = self.inputs.last();
        if last.is_none_or(|(_, input)| *input != job.position.input) {
            self.inputs.push((number, Arc::clone(&job.position.input)));
        }
        self.files.put(file, number);
        Ok(())
    }

    /// Claims the directories above a new file.
    fn claim_directories(&mut self, path: &str, number: u64) -> Result<(), ClaimHolder> {
        let as_directory = self.keys.of(&format!("{path}/"));
        let slashes = path.match_indices('/').map(|(at, _)| at);
        let above = slashes.filter_map(|at| path.get(..at).zip(path.get(..=at)));
        let above: Vec<_> = above
            .map(|(file, directory)| (self.keys.of(&file), self.keys.of(&directory)))
            .collect();
        let mut taken = above.iter().map(|(file, _)| *file).chain([as_directory]);
        if let Some(owner) = taken.find_map(|key| self.files.get(key)) {
            return Err(self.holder(owner, false));
        }
        for (_, directory) in above {
            if self.files.get(directory).is_none() {
                self.files.put(directory, number);
            }
        }
        Ok(())
    }

    fn share(&self, number: u64, job: u64) -> Result<(), ClaimHolder> {
        let claim = self.claims.get(number as usize);
        match claim.filter(|claim| claim.job != job) {
            Some(_) => Err(self.holder(number, true)),
            None => Ok(()),
        }
    }

    fn holder(&self, number: u64, is_same_file: bool) -> ClaimHolder {
        let behind = self.inputs.partition_point(|(first, _)| *first <= number);
        let input = behind.checked_sub(1).and_then(|last| self.inputs.get(last));
        let claim = self.claims.get(number as usize);
        ClaimHolder {
            input: input.map_or_else(Arc::default, |(_, name)| Arc::clone(name)),
            line: claim.map_or(0, |claim| claim.line),
            is_same_file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InputPosition, LineOptions};
    use http::Method;

    fn job(line: u64, url: &str, own_options: Option<LineOptions>) -> Job {
        Job {
            position: InputPosition {
                number: line,
                input: "-".into(),
                line,
            },
            options: own_options.map(Box::new),
            ..Job::plain(url)
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
            let method = job.options.as_ref().unwrap().method.as_ref();
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
    fn a_name_is_that_of_a_file_or_of_a_directory() {
        let mut claims = Claims::default();
        let mut claim = |line: u64, name: &str| {
            let job = job(line, "http://a/", Some(named(name)));
            let file = job.file_override().unwrap();
            claims.claim(&job, file, None).map_err(|place| place.line)
        };
        assert_eq!(claim(1, "a/b/c"), Ok(()));
        assert_eq!(claim(2, "a/b/d"), Ok(()), "directories are shared");
        for name in ["a", "A/B"] {
            assert_eq!(claim(3, name), Err(1), "{name} is a directory");
        }
        assert_eq!(claim(4, "x"), Ok(()));
        for name in ["x/y", "X/y/z", "a/b/c/d"] {
            assert!(claim(5, name).is_err(), "{name} is below a file");
        }
        assert_eq!(claim(6, "X"), Ok(()), "an equal line");
    }

    #[test]
    fn of_many_files_in_several_lists_each_knows_its_line() {
        let mut claims = Claims::default();
        let mut claim = |input: &str, line: u64, url: &str| {
            let mut job = job(line, url, Some(named(&format!("f{line}"))));
            job.position.input = input.into();
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
                is_same_file: true,
            };
            assert_eq!(claim("more", line, "http://a/"), Ok(()));
            assert_eq!(claim("more", line, "http://b/"), Err(holder));
        }
        assert_eq!(size_of::<Claim>(), 16);
    }

    #[test]
    fn a_line_that_cannot_name_a_file_claims_none() {
        assert!(!Claims::applies_to(&job(1, "http://a/", None)));
        assert!(Claims::applies_to(&job(
            1,
            "http://a/",
            Some(LineOptions::default())
        )));
    }
}
