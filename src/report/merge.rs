//! Puts the journals of shards together: the newest record of each line, and what is missing.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::{JournalError, JournalLine, JournalLines, lock_shared, shard_mark};
use crate::model::{
    CompactMap, HashKey, KeyHasher, Record, Shard, ShardMark, Summary, escape_json, timestamp_span,
};

/// Lines of an input that share a block of bits.
const BLOCK_LINES: u64 = 1 << 16;
/// Missing shards that are named.
const MAX_NAMED: usize = 10;

/// Puts journals together, one after the other. Memory holds 16 bytes for each line of one journal, and
/// a bit for each line of all of them.
pub(crate) struct JournalMerge {
    /// What ends a record in the output.
    end: &'static [u8],
    summary: Summary,
    seen: SeenLines,
    /// The division of the list, and the journal of each of its shards.
    first: Option<Shard>,
    shards: BTreeMap<u32, MergedShard>,
    times: Option<(String, String)>,
}

/// What is known of a shard.
struct MergedShard {
    path: PathBuf,
    /// Its own lines and those of the whole list, if a run read that to its end.
    lines: Option<(u64, u64)>,
}

/// What tells the lines of a journal apart, beside their numbers.
#[derive(Clone, Copy)]
enum LineName {
    Input,
    Url,
}

/// The newest records of a journal.
struct NewestRecords {
    by: LineName,
    keys: KeyHasher,
    offsets: CompactMap,
    mark: Option<ShardMark>,
    garbage: u64,
}

impl NewestRecords {
    /// Reads a journal.
    fn read(file: &File) -> io::Result<Self> {
        let newest = Self::read_by(file, LineName::Input)?;
        let lines = newest.mark.and_then(|mark| mark.lines);
        if lines.is_none_or(|lines| newest.offsets.len() as u64 <= lines) {
            return Ok(newest);
        }
        // A later run may have found the same list under another name: from another directory, or on
        // stdin.
        let renamed = Self::read_by(file, LineName::Url)?;
        let fits = lines == Some(renamed.offsets.len() as u64);
        Ok(if fits { renamed } else { newest })
    }

    fn read_by(file: &File, by: LineName) -> io::Result<Self> {
        let mut newest = Self {
            by,
            keys: KeyHasher::default(),
            offsets: CompactMap::default(),
            mark: None,
            garbage: 0,
        };
        let mut lines = JournalLines::of(file);
        while let Some(line) = lines.next_line()? {
            newest.add(&line);
        }
        newest.offsets.merge();
        Ok(newest)
    }

    fn add(&mut self, line: &JournalLine<'_>) {
        if let Some(record) = line.record() {
            let key = self.key(&record);
            return self.offsets.put(key, line.offset);
        }
        match line.bytes.and_then(shard_mark) {
            // The first one of a run has no numbers; those of the run before may still be right.
            Some(mark) if mark.lines.is_some() || self.mark.is_none() => self.mark = Some(mark),
            Some(_) => {}
            None if line
                .bytes
                .is_some_and(|bytes| bytes.trim_ascii().is_empty()) => {}
            // A line that a kill has cut off is left, and missed by the count.
            None if !line.is_ended => {}
            None if line.note().is_some() => {}
            None => self.garbage += 1,
        }
    }

    fn key(&self, record: &Record) -> HashKey {
        let name = match self.by {
            LineName::Input => &*record.input,
            LineName::Url => record.url.as_str(),
        };
        self.keys.of(&(name, record.line))
    }

    fn is_newest(&self, record: &Record, offset: u64) -> bool {
        self.offsets.get(self.key(record)) == Some(offset)
    }
}

impl JournalMerge {
    pub(crate) fn new(end: &'static [u8]) -> Self {
        Self {
            end,
            summary: Summary::default(),
            seen: SeenLines::default(),
            first: None,
            shards: BTreeMap::new(),
            times: None,
        }
    }

    /// Adds a journal: writes the newest record of each of its lines to `out`.
    ///
    /// # Errors
    /// If the journal cannot be read; as the inner error, if `out` cannot be written.
    pub(crate) fn add(
        &mut self,
        path: &Path,
        file: &File,
        out: &mut dyn Write,
    ) -> Result<io::Result<()>, JournalError> {
        lock_shared(file)?;
        let newest = NewestRecords::read(file)?;
        let name = path.display();
        if newest.garbage > 0 {
            let n = newest.garbage;
            self.tell(format!("{name}: lines that are no records: {n}"));
        }
        let is_first = self.note_shard(path, newest.mark);
        let (mut own, mut repeated) = (0, 0);
        let mut lines = JournalLines::of(file);
        let mut escaped = Vec::new();
        while let Some(line) = lines.next_line()? {
            let Some(record) = line.record().filter(|it| newest.is_newest(it, line.offset)) else {
                continue;
            };
            own += 1;
            if !self.seen.add(&record.input, record.line) {
                repeated += 1;
                continue;
            }
            self.count(&record);
            // Others may have written the journal.
            escaped.clear();
            let bytes = line.bytes.unwrap_or_default().trim_ascii();
            escape_json(&mut escaped, &String::from_utf8_lossy(bytes));
            if let Err(error) = out
                .write_all(&escaped)
                .and_then(|()| out.write_all(self.end))
            {
                return Ok(Err(error));
            }
        }
        if repeated > 0 {
            self.tell(format!(
                "{name}: lines that have a record in another journal, too: {repeated}"
            ));
        }
        if is_first {
            self.check_lines(path, newest.mark, own);
        }
        Ok(Ok(()))
    }

    /// Returns the summary of the whole list, with what is wrong with its shards.
    #[must_use]
    pub(crate) fn finish(mut self) -> Summary {
        self.summary.list_ended = self.has_all_lines();
        self.check_shards();
        let summary = &mut self.summary;
        summary.input = summary.settled() + summary.left;
        if let Some((at, ended_at)) = self.times {
            summary.wall = timestamp_span(&at, &ended_at).unwrap_or_default();
            (summary.at, summary.ended_at) = (Some(at), Some(ended_at));
        }
        self.summary
    }

    fn tell(&mut self, problem: String) {
        self.summary.problems.push(problem);
    }

    fn count(&mut self, record: &Record) {
        self.summary.count_record(record);
        // Times in UTC of one form are in the order of their texts.
        match &mut self.times {
            None => self.times = Some((record.at.clone(), record.at.clone())),
            Some((first, last)) => {
                if record.at < *first {
                    first.clone_from(&record.at);
                }
                if record.at > *last {
                    last.clone_from(&record.at);
                }
            }
        }
    }

    /// Notes of which shard a journal is. Returns whether it is the first one of that.
    fn note_shard(&mut self, path: &Path, mark: Option<ShardMark>) -> bool {
        let name = path.display();
        let Some(mark) = mark else {
            self.tell(format!("{name}: it is not the journal of a shard"));
            return false;
        };
        let first = *self.first.get_or_insert(mark.shard);
        if !first.is_sibling(mark.shard) {
            let shard = mark.shard;
            self.tell(format!(
                "{name}: shard {shard} is of another division of the list than shard {first}"
            ));
            return false;
        }
        if let Some(other) = self.shards.get(&mark.shard.index()) {
            let (shard, other) = (mark.shard, other.path.display());
            let text = format!("{name}: shard {shard} is in {other}, too");
            self.tell(text);
            return false;
        }
        let shard = MergedShard {
            path: path.to_owned(),
            lines: mark.lines.zip(mark.list_lines),
        };
        self.shards.insert(mark.shard.index(), shard);
        true
    }

    /// Compares the number of records with that of the lines that the shard has.
    fn check_lines(&mut self, path: &Path, mark: Option<ShardMark>, own: u64) {
        let Some(ShardMark { shard, lines, .. }) = mark else {
            return;
        };
        let name = path.display();
        match lines {
            None => self.tell(format!(
                "{name}: no run of shard {shard} has read its list to the end; run it again"
            )),
            Some(lines) if own < lines => {
                self.summary.left += lines - own;
                let missing = lines - own;
                self.tell(format!(
                    "{name}: {missing} of {lines} lines of shard {shard} have no record; run it again"
                ));
            }
            Some(lines) if own > lines => self.tell(format!(
                "{name}: shard {shard} has {own} records for {lines} lines; was its list changed?"
            )),
            Some(_) => {}
        }
    }

    /// Whether it is known how many lines each of all shards has.
    fn has_all_lines(&self) -> bool {
        let is_known = |shard: &MergedShard| shard.lines.is_some();
        let of = self.first.map_or(1, |first| first.of().get());
        self.shards.len() == of as usize && self.shards.values().all(is_known)
    }

    fn check_shards(&mut self) {
        let Some(first) = self.first else {
            return;
        };
        let missing = (0..first.of().get()).filter(|index| !self.shards.contains_key(index));
        let missing: Vec<_> = missing.map(|index| index.to_string()).collect();
        if !missing.is_empty() {
            let named = missing.get(..MAX_NAMED).unwrap_or(&missing).join(", ");
            let more = match missing.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let of = first.of();
            return self.tell(format!("of {of} shards, these are missing: {named}{more}"));
        }
        let lines: Option<Vec<_>> = self.shards.values().map(|shard| shard.lines).collect();
        let Some(lines) = lines else {
            return;
        };
        let all: u64 = lines.iter().map(|(own, _)| own).sum();
        // A shard may have been run over its part of the list alone.
        let is_same = |(own, list): &(u64, u64)| *list == all || list == own;
        if !lines.iter().all(is_same) {
            let (least, most) = lines
                .iter()
                .fold((u64::MAX, 0), |(least, most), (_, list)| {
                    (least.min(*list), most.max(*list))
                });
            let list = match least == most {
                true => least.to_string(),
                false => format!("{least} to {most}"),
            };
            self.tell(format!(
                "the shards are not of the same list: it has {list} lines, and they have {all}"
            ));
        }
    }
}

/// Which lines have a record, as bits: lines of a list are numbered without large gaps.
#[derive(Default)]
struct SeenLines(HashMap<Arc<str>, HashMap<u64, Box<[u64]>>>);

impl SeenLines {
    /// Adds a line; returns false if it is there already.
    fn add(&mut self, input: &Arc<str>, line: u64) -> bool {
        if !self.0.contains_key(input) {
            self.0.insert(Arc::clone(input), HashMap::new());
        }
        let Some(blocks) = self.0.get_mut(input) else {
            return true;
        };
        let block = blocks
            .entry(line / BLOCK_LINES)
            .or_insert_with(|| vec![0; (BLOCK_LINES / 64) as usize].into());
        let (place, bit) = ((line % BLOCK_LINES / 64) as usize, 1 << (line % 64));
        let Some(bits) = block.get_mut(place) else {
            return true;
        };
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_each_input_is_new_once() {
        let mut seen = SeenLines::default();
        let inputs: [Arc<str>; 2] = ["a".into(), "b".into()];
        for line in [0, 1, 63, 64, 65_535, 65_536, u64::MAX] {
            for input in &inputs {
                assert!(seen.add(input, line), "{input} {line}");
                assert!(!seen.add(input, line), "{input} {line}");
            }
        }
    }
}
