//! Reads bytes, numbers and names, never beyond what is left of the file.

use std::io::{self, BufRead};

use super::{GgufError, at_most, invalid};

/// The part of the file that isn't read yet.
pub(super) struct Source<R> {
    pub(super) reader: R,
    pub(super) left: u64,
}

impl<R: BufRead> Source<R> {
    pub(super) fn require(&self, wanted: u64, what: &str) -> Result<(), GgufError> {
        if self.left < wanted {
            return Err(GgufError::Truncated { what: what.to_owned(), wanted, left: self.left });
        }
        Ok(())
    }

    /// The next bytes; callers bound `wanted`.
    pub(super) fn bytes(&mut self, wanted: u64, what: &str) -> Result<Vec<u8>, GgufError> {
        self.require(wanted, what)?;
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(usize::MAX)];
        self.reader.read_exact(&mut bytes)?;
        self.left -= wanted;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, wanted: u64, what: &str) -> Result<(), GgufError> {
        self.require(wanted, what)?;
        let mut rest = wanted;
        while 0 < rest {
            let there = self.reader.fill_buf()?.len();
            if there == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let step = usize::try_from(rest).unwrap_or(usize::MAX).min(there);
            self.reader.consume(step);
            rest -= step as u64;
        }
        self.left -= wanted;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        self.require(N as u64, what)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A name, of at most `longest` bytes.
    pub(super) fn string(&mut self, longest: u64, what: &str) -> Result<String, GgufError> {
        let length = self.u64(what)?;
        self.require(length, what)?;
        at_most(length, longest, "bytes in a name")?;
        let bytes = self.bytes(length, what)?;
        match String::from_utf8(bytes) {
            // It will be shown on terminals.
            Ok(name) if !name.contains(char::is_control) => Ok(name),
            Ok(_) | Err(_) => Err(invalid(what, "has a name that is no name")),
        }
    }
}
