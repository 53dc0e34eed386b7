//! Bits of the head of an H.264 NAL unit, read without copying it.

/// Reads bits and Exp-Golomb codes, stepping over emulation prevention bytes (ITU-T H.264 sections 7.4.1 and 9.1).
pub(super) struct Bits<'a> {
    data: &'a [u8],
    byte: usize,
    bit: u32,
    zeros: u32,
}

impl<'a> Bits<'a> {
    /// `data` is what follows the header byte of the NAL unit.
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, byte: 0, bit: 0, zeros: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<u32> {
        if self.bit == 0 && self.zeros >= 2 && self.data.get(self.byte) == Some(&3) {
            self.byte += 1;
            self.zeros = 0;
        }
        let byte = *self.data.get(self.byte)?;
        let value = u32::from(byte) >> (7 - self.bit) & 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.byte += 1;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        }
        Some(value)
    }

    /// Up to 32 bits, the highest first.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    /// Unsigned Exp-Golomb.
    pub(super) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_read() {
        // 1, 010, 011, 00100, 00110
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0011, 0b0000_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.ue()).collect();
        assert_eq!(values, [Some(0), Some(1), Some(2), Some(3), Some(5)]);
        assert_eq!(bits.ue(), None, "cut");
        assert_eq!(Bits::new(&[0; 9]).ue(), None, "no number has that many zeros");
    }

    #[test]
    fn emulation_prevention_is_stepped_over() {
        let mut bits = Bits::new(&[0, 0, 3, 1, 3]);
        assert_eq!(bits.bits(32), Some(0x0000_0103));
        assert_eq!(bits.bit(), None);
    }
}
