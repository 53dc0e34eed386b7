//! Reads the mark of the server's own test pattern, after its documentation (`ooblex_ingest::pattern`) and not with
//! its code: 4 rows of 32 cells in the lowest sixth of the picture.

use crate::mark::Rgb;

/// What the pattern says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatternMark {
    /// Number of the frame.
    pub counter: u32,
    /// Milliseconds since 1970.
    pub timecode_ms: u64,
}

/// CRC-32 as zlib and PNG have it.
pub fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    })
}

/// Reads the pattern's mark, if there is a whole one.
pub fn read(picture: &Rgb) -> Option<PatternMark> {
    let (width, height) = (picture.width as f64, picture.height as f64);
    let luma = picture.luma();
    let range = |from: f64, to: f64| {
        let from = from.round() as usize;
        from..(to.round() as usize).max(from + 1)
    };
    let mut bits = 0u128;
    for row in 0..4 {
        let (top, side) = (height * f64::from(20 + row) / 24.0, height / 24.0);
        let rows = range(top + side / 4.0, top + side * 0.75);
        let cells: Vec<f64> = (0..32)
            .map(|column| {
                let columns = range(
                    width * (f64::from(column) + 0.25) / 32.0,
                    width * (f64::from(column) + 0.75) / 32.0,
                );
                let (mut sum, mut count) = (0.0, 0.0);
                for y in rows.clone() {
                    for x in columns.clone() {
                        sum += f64::from(luma[y * picture.width + x]);
                        count += 1.0;
                    }
                }
                sum / count
            })
            .collect();
        let (white, black) = ((cells[0] + cells[31]) / 2.0, (cells[1] + cells[30]) / 2.0);
        if white - black < 64.0 {
            return None;
        }
        for cell in &cells[2..30] {
            bits = bits << 1 | u128::from(*cell > (white + black) / 2.0);
        }
    }
    let bytes = bits.to_be_bytes();
    let data = &bytes[2..];
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    (u64::from(crc32(&data[..10])) == number(&data[10..]))
        .then(|| PatternMark { counter: number(&data[..4]) as u32, timecode_ms: number(&data[4..10]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(read(&Rgb::plain(320, 240, [128; 3])), None);
    }
}
