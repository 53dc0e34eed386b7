//! Names of the libraries that a shared library needs (ELF, 64 bits, little-endian; see elf(5)).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

/// What the library needs, in the order in which the dynamic linker loads it; nothing if it cannot be read.
pub(super) fn needed(path: &Path) -> Vec<String> {
    read(path).unwrap_or_default()
}

fn read(path: &Path) -> Option<Vec<String>> {
    let file = File::open(path).ok()?;
    let header = bytes(&file, 0, 64)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, count) = (u64_at(&header, 32)?, u16_at(&header, 56)?);
    let table = bytes(&file, table, usize::from(count) * 56)?;
    // Type, offset in the file, address, size in the file.
    let segments: Vec<(u64, u64, u64, u64)> = table
        .chunks_exact(56)
        .filter_map(|s| Some((u64_at(s, 0)? & 0xffff_ffff, u64_at(s, 8)?, u64_at(s, 16)?, u64_at(s, 32)?)))
        .collect();
    let &(_, offset, _, size) = segments.iter().find(|s| s.0 == PT_DYNAMIC)?;
    let dynamic = bytes(&file, offset, usize::try_from(size).ok().filter(|size| *size < 1 << 20)?)?;
    let entries = || dynamic.chunks_exact(16).filter_map(|e| Some((u64_at(e, 0)?, u64_at(e, 8)?)));
    let (_, strings) = entries().find(|entry| entry.0 == DT_STRTAB)?;
    let holds =
        |s: &&(u64, u64, u64, u64)| s.0 == PT_LOAD && strings.checked_sub(s.2).is_some_and(|at| at < s.3);
    let strings = segments.iter().find(holds).map(|s| s.1 + (strings - s.2))?;
    let names =
        entries().filter(|entry| entry.0 == DT_NEEDED).map(|(_, at)| name(&file, strings.checked_add(at)?));
    Some(names.flatten().collect())
}

fn name(file: &File, offset: u64) -> Option<String> {
    let mut name = [0; 256];
    let read = file.read_at(&mut name, offset).ok()?;
    let end = name[..read].iter().position(|byte| *byte == 0)?;
    String::from_utf8(name[..end].to_vec()).ok()
}

fn bytes(file: &File, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_libraries_are_listed() {
        let program = std::env::current_exe().expect("this program");
        assert!(needed(&program).iter().any(|name| name.starts_with("libc.so.")), "{:?}", needed(&program));
    }

    #[test]
    fn other_files_have_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let program = std::fs::read(std::env::current_exe().expect("this program")).expect("readable");
        let mut huge = program[..64].to_vec();
        huge[32..40].fill(0xff);
        for content in [&b""[..], b"#!/bin/sh", &program[..64], &huge] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(needed(&path), Vec::<String>::new());
        }
        assert_eq!(needed(Path::new("/does/not/exist")), Vec::<String>::new());
    }
}
