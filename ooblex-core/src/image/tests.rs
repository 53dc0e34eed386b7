use super::*;
use crate::pixel::ColorSpace;

fn gray(width: u32, height: u32) -> Image {
    let data = (0..width * height).map(|i| i as u8).collect();
    Image::from_vec(PixelFormat::Gray8, width, height, ColorSpace::JPEG, data).expect("valid")
}

#[test]
fn constructors_reject_what_does_not_fit() {
    let pool = BufferPool::default();
    let color = ColorSpace::JPEG;
    assert!(matches!(Image::alloc(PixelFormat::Rgb, 0, 4, color, &pool), Err(ImageError::Size { .. })));
    assert!(matches!(Image::alloc(PixelFormat::Rgb, 4, 65_536, color, &pool), Err(ImageError::Size { .. })));
    let short = Image::from_vec(PixelFormat::I420, 4, 4, color, vec![0; 23]);
    assert!(matches!(short, Err(ImageError::Length { needed: 24, available: 23, .. })));
    let narrow = [PlaneLayout { offset: 0, stride: 11 }];
    let stride = Image::from_buffer(PixelFormat::Rgb, 4, 1, color, vec![0; 64].into(), &narrow);
    assert!(matches!(stride, Err(ImageError::Stride { stride: 11, row_bytes: 12, .. })));
    let huge = [PlaneLayout { offset: 0, stride: usize::MAX / 2 }];
    let overflow = Image::from_buffer(PixelFormat::Gray8, 4, 9, color, vec![0; 64].into(), &huge);
    assert!(matches!(overflow, Err(ImageError::Length { .. })));
    let planes = [PlaneLayout { offset: 0, stride: 4 }; 3];
    let overlap = Image::from_buffer(PixelFormat::I420, 4, 4, color, vec![0; 64].into(), &planes);
    assert!(matches!(overlap, Err(ImageError::Length { .. })));
    let count = Image::from_planes(PixelFormat::I420, 2, 2, color, &[(&[0; 4], 2)], &pool);
    assert!(matches!(count, Err(ImageError::PlaneCount { expected: 3, got: 1, .. })));
}

#[test]
fn rows_exclude_padding() {
    let data: Vec<u8> = (0..20).collect();
    let layout = [PlaneLayout { offset: 2, stride: 6 }];
    let image =
        Image::from_buffer(PixelFormat::Gray8, 3, 3, ColorSpace::JPEG, data.into(), &layout).expect("valid");
    let rows: Vec<&[u8]> = image.plane(0).expect("plane").rows().collect();
    assert_eq!(rows, [&[2, 3, 4], &[8, 9, 10], &[14, 15, 16]]);
    assert_eq!(image.to_packed().expect("host"), [2, 3, 4, 8, 9, 10, 14, 15, 16]);
}

#[test]
fn writing_a_shared_image_leaves_the_other_alone() {
    let mut a = gray(5, 3);
    let b = a.clone();
    assert!(a.is_shared());
    a.plane_mut(0).expect("plane").fill(9);
    assert!(!a.is_shared());
    assert_eq!(b.to_packed().expect("host")[1], 1);
    assert_eq!(a.to_packed().expect("host"), [9; 15]);
}

#[test]
fn writing_an_unshared_image_does_not_copy() {
    let pool = BufferPool::default();
    let mut image = Image::black(64, 64, &pool).expect("valid");
    image.plane_mut(0).expect("plane").fill(1);
    image.i420_mut().expect("planes")[2].fill(7);
    assert_eq!(pool.stats().allocated, 1);
    assert_eq!(image.plane(2).expect("plane").row(3)[3], 7);
    assert_eq!(image.plane(1).expect("plane").row(3)[3], 128);
}

#[test]
fn planes_may_lie_in_any_order() {
    let planes = [
        PlaneLayout { offset: 8, stride: 4 },
        PlaneLayout { offset: 4, stride: 2 },
        PlaneLayout { offset: 0, stride: 2 },
    ];
    let buffer = HostBuffer::from((0..24).collect::<Vec<u8>>());
    let mut image =
        Image::from_buffer(PixelFormat::I420, 4, 4, ColorSpace::JPEG, buffer, &planes).expect("valid");
    let [y, u, v] = image.i420_mut().expect("planes");
    assert_eq!((y.as_plane().row(0)[0], u.as_plane().row(0)[0], v.as_plane().row(1)[1]), (8, 4, 3));
}

#[test]
fn the_luma_view_shares_memory() {
    let pool = BufferPool::default();
    let image = Image::black(7, 5, &pool).expect("valid");
    let luma = image.luma_view().expect("yuv");
    assert_eq!((luma.format(), luma.width(), luma.height()), (PixelFormat::Gray8, 7, 5));
    assert!(image.is_shared());
    assert_eq!(pool.stats().allocated, 1);
}

#[derive(Debug)]
struct FakeDevice(Vec<u8>);

impl DeviceBuffer for FakeDevice {
    fn memory(&self) -> Memory {
        Memory::Device
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn copy_to_host(&self, host: &mut [u8]) -> Result<(), crate::BoxError> {
        host.copy_from_slice(&self.0);
        Ok(())
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn device_pixels_are_an_error_until_transferred() {
    let pool = BufferPool::default();
    let layout = [PlaneLayout { offset: 0, stride: 2 }];
    let device = Arc::new(FakeDevice(vec![1, 2, 3, 4]));
    let mut image =
        Image::from_device(PixelFormat::Gray8, 2, 2, ColorSpace::JPEG, device, &layout).expect("valid");
    assert_eq!(image.memory(), Memory::Device);
    assert!(matches!(image.plane(0), Err(ImageError::DeviceMemory)));
    assert!(matches!(image.plane_mut(0), Err(ImageError::DeviceMemory)));
    let host = image.to_host(&pool).expect("transfer");
    assert_eq!(host.to_packed().expect("host"), [1, 2, 3, 4]);
}
