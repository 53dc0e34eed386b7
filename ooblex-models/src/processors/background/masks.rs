//! Memory of masks that travel with frames, used again when these are gone.

use std::sync::Arc;

/// Most masks that are remembered: those of 16 classes in the few frames of one stream that are alive at once.
const KEPT: usize = 64;

/// Masks that were given away, each used again when nobody else holds it any more.
#[derive(Debug, Default)]
pub(in crate::processors) struct Masks(Vec<Arc<[u8]>>);

impl Masks {
    /// A copy of `values` to be given away.
    pub(in crate::processors) fn share(&mut self, values: &[u8]) -> Arc<[u8]> {
        for mask in &mut self.0 {
            if mask.len() == values.len()
                && let Some(free) = Arc::get_mut(mask)
            {
                free.copy_from_slice(values);
                return mask.clone();
            }
        }
        let mask: Arc<[u8]> = values.into();
        if self.0.len() >= KEPT {
            self.0.remove(0);
        }
        self.0.push(mask.clone());
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_it_is_free() {
        let mut masks = Masks::default();
        let first = masks.share(&[1, 2, 3]);
        let second = masks.share(&[4, 5, 6]);
        assert_eq!((&first[..], &second[..]), (&[1, 2, 3][..], &[4, 5, 6][..]));
        let place = first.as_ptr();
        drop(first);
        let third = masks.share(&[7, 8, 9]);
        assert_eq!((third.as_ptr(), &third[..], &second[..]), (place, &[7, 8, 9][..], &[4, 5, 6][..]));
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let mut masks = Masks::default();
        let all: Vec<_> = (0..200).map(|i| masks.share(&[i; 5])).collect();
        assert!(all.iter().enumerate().all(|(i, mask)| mask[..] == [i as u8; 5]));
        assert_eq!(masks.0.len(), KEPT);
        masks.share(&[0; 9]);
        assert_eq!(masks.0.len(), KEPT);
    }
}
