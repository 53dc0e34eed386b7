//! From a response's body to a file, checked on the way.

use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use super::super::files::hex;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Why a body did not become a file.
#[derive(Debug)]
pub(super) enum Stop {
    /// It ended early.
    Read(String),
    /// It goes on behind its end.
    TooLong,
    /// It could not be written.
    Write(io::Error),
}

/// A file that is being written, and the sum of what is in it.
pub(super) struct Checked<W> {
    file: W,
    length: u64,
    sum: Sha256,
}

impl<W: Read + Write + Seek> Checked<W> {
    /// Goes on behind the first `from` bytes of a file.
    pub(super) fn new(mut file: W, from: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let (mut sum, mut buffer, mut length) = (Sha256::new(), vec![0; CHUNK], 0);
        while length < from {
            let most = usize::try_from(from - length).map_or(CHUNK, |left| left.min(CHUNK));
            let count = file.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sum.update(&buffer[..count]);
            length += count as u64;
        }
        Ok(Self { file, length, sum })
    }

    /// Adds a body until there are `total` bytes.
    pub(super) fn fill(
        &mut self,
        mut body: impl Read,
        total: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) if self.length == total => return Ok(()),
                Ok(0) => return Err(Stop::Read("the server ended it".into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Read(error.to_string())),
            };
            if self.length + count as u64 > total {
                return Err(Stop::TooLong);
            }
            self.file.write_all(&buffer[..count]).map_err(Stop::Write)?;
            self.sum.update(&buffer[..count]);
            self.length += count as u64;
            progress(self.length);
        }
    }

    /// Bytes in it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of what is in it, in lowercase hexadecimal.
    pub(super) fn sha256(self) -> String {
        hex(&self.sum.finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::super::files::sha256;
    use super::*;

    /// A disk with room for so many bytes.
    struct SmallDisk(Cursor<Vec<u8>>, usize);

    impl Read for SmallDisk {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Seek for SmallDisk {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    impl Write for SmallDisk {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            match self.1.saturating_sub(self.0.position() as usize).min(data.len()) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                room => self.0.write(&data[..room]),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_sum_is_that_of_the_whole_wherever_it_went_on() {
        let data: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        for from in [0, 1, 65_536, 199_999] {
            let mut checked = Checked::new(Cursor::new(data[..from].to_vec()), from as u64).expect("reads");
            let mut seen = Vec::new();
            checked.fill(&data[from..], data.len() as u64, &mut |done| seen.push(done)).expect("fits");
            assert_eq!(seen.last(), Some(&(data.len() as u64)));
            assert_eq!(checked.file.get_ref(), &data);
            assert_eq!(checked.sha256(), sha256(&data), "{from}");
        }
    }

    #[test]
    fn a_body_that_is_too_short_or_too_long_is_told() {
        let fill = |body: &[u8]| {
            let mut checked = Checked::new(Cursor::new(Vec::new()), 0).expect("empty");
            (checked.fill(body, 10, &mut |_| {}), checked.length())
        };
        assert!(matches!(fill(&[1; 9]), (Err(Stop::Read(_)), 9)));
        assert!(matches!(fill(&[1; 11]), (Err(Stop::TooLong), 0)));
        assert!(matches!(fill(&[1; 10]), (Ok(()), 10)));
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut checked = Checked::new(SmallDisk(Cursor::default(), 70_000), 0).expect("empty");
        let stop = checked.fill(&[7u8; 100_000][..], 100_000, &mut |_| {});
        assert!(matches!(stop, Err(Stop::Write(e)) if e.kind() == io::ErrorKind::StorageFull));
    }
}
