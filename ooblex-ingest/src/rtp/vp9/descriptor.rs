//! The VP9 payload descriptor (RFC 9628 section 4.2).

/// References of one layer frame at most (RFC 9628 section 4.2: "up to 3 times").
pub(super) const MAX_REFERENCES: usize = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// P: refers to other pictures.
    pub(super) inter: bool,
    /// F: references are listed.
    pub(super) flexible: bool,
    /// B and E: first and last payload of a layer frame.
    pub(super) begins: bool,
    pub(super) ends: bool,
    /// Picture id and the number after the highest.
    pub(super) picture: Option<(u16, u16)>,
    pub(super) layer: Option<Layer>,
    /// TL0PICIDX: counts pictures of temporal layer 0.
    pub(super) base: Option<u8>,
    /// How many pictures before this one its references lie.
    pub(super) references: [u8; MAX_REFERENCES],
    pub(super) reference_count: usize,
}

/// Which layer a frame belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) temporal: u8,
    /// U: what follows in higher temporal layers refers to nothing of them before this picture.
    pub(super) switching_up: bool,
    pub(super) spatial: u8,
    /// D: refers to the spatial layer below.
    pub(super) inter_layer: bool,
}

impl Descriptor {
    /// The descriptor and what follows it, which is not empty.
    pub(super) fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = payload;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let flags = take(1)?[0];
        let flag = |bit: u8| flags >> (7 - bit) & 1 == 1;
        let mut this =
            Self { inter: flag(1), flexible: flag(3), begins: flag(4), ends: flag(5), ..Self::default() };
        if flag(0) {
            let high = take(1)?[0];
            this.picture = Some(match high & 0x80 {
                0 => (u16::from(high), 1 << 7),
                _ => (u16::from(high & 0x7F) << 8 | u16::from(take(1)?[0]), 1 << 15),
            });
        }
        if flag(2) {
            let byte = take(1)?[0];
            this.layer = Some(Layer {
                temporal: byte >> 5,
                switching_up: byte & 0x10 != 0,
                spatial: byte >> 1 & 7,
                inter_layer: byte & 1 != 0,
            });
            if !this.flexible {
                this.base = Some(take(1)?[0]);
            }
        }
        if this.flexible && this.inter {
            loop {
                let byte = take(1)?[0];
                *this.references.get_mut(this.reference_count)? = byte >> 1;
                this.reference_count += 1;
                if byte & 1 == 0 {
                    break;
                }
            }
        }
        if flag(6) {
            skip_structure(&mut take)?;
        }
        (!rest.is_empty()).then_some((this, rest))
    }

    pub(super) fn references(&self) -> &[u8] {
        &self.references[..self.reference_count]
    }
}

/// The scalability structure (RFC 9628 section 4.2.1) tells sizes and a pattern of references, neither of which is
/// needed: sizes are in the frames, and where loss matters TL0PICIDX and U say enough.
fn skip_structure<'a>(take: &mut impl FnMut(usize) -> Option<&'a [u8]>) -> Option<()> {
    let head = take(1)?[0];
    let spatial_layers = usize::from(head >> 5) + 1;
    if head & 0x10 != 0 {
        take(4 * spatial_layers)?;
    }
    if head & 0x08 != 0 {
        for _ in 0..take(1)?[0] {
            let references = take(1)?[0] >> 2 & 3;
            take(usize::from(references))?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flexible_mode_lists_references() {
        // I P L F B -, 15-bit picture id 0x1234, layer T1 U S2 D, references 1 and 4.
        let payload = [0b1111_1000, 0x92, 0x34, 0b0011_0101, 0b0000_0011, 0b0000_1000, 0xAA];
        let (descriptor, data) = Descriptor::parse(&payload).expect("valid");
        assert_eq!(data, [0xAA]);
        assert_eq!(descriptor.picture, Some((0x1234, 1 << 15)));
        let layer = Layer { temporal: 1, switching_up: true, spatial: 2, inter_layer: true };
        assert_eq!(descriptor.layer, Some(layer));
        assert_eq!((descriptor.base, descriptor.references()), (None, &[1, 4][..]));
        assert!(descriptor.begins && !descriptor.ends && descriptor.inter && descriptor.flexible);
    }

    #[test]
    fn the_scalability_structure_is_stepped_over() {
        // I L B E V, 7-bit picture id, TL0PICIDX 9; two spatial layers with sizes; pattern of two pictures.
        let mut payload = vec![0b1010_1110, 5, 0, 9, 0b0011_1000];
        payload.extend([1, 64, 0, 180, 2, 128, 1, 104]);
        payload.extend([2, 0b0000_0000, 0b0010_0100, 1]);
        payload.push(0x82);
        let (descriptor, data) = Descriptor::parse(&payload).expect("valid");
        assert_eq!((data, descriptor.base, descriptor.picture), (&[0x82][..], Some(9), Some((5, 128))));
        for cut in 0..payload.len() {
            assert_eq!(Descriptor::parse(&payload[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_fourth_reference_is_malformed() {
        assert_eq!(Descriptor::parse(&[0b0101_1000, 3, 5, 7, 8, 0xAA]), None);
    }
}
