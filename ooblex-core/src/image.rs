//! A picture's pixels: planes with strides, reference-counted, copied on write.

use std::sync::Arc;

use crate::buffer::{BufferPool, DeviceBuffer, HostBuffer, Memory, SharedBuffer};
use crate::error::ImageError;
use crate::pixel::{ColorSpace, PixelFormat};

/// Row starts of images that core allocates are multiples of this many bytes, so that SIMD loops start aligned.
const STRIDE_ALIGN: usize = 32;

/// Where a plane lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlaneLayout {
    /// First byte of the first row.
    pub offset: usize,
    /// Bytes between row starts, at least the visible bytes of a row.
    pub stride: usize,
}

/// Pixels of one picture. Cloning shares them; writing copies them first if they are shared.
///
/// Sizes are validated by every constructor: whoever holds an `Image` may index its rows without checks of
/// their own. Visible pixels come first: [`Plane::row`] never shows padding.
#[derive(Clone, Debug)]
pub struct Image {
    format: PixelFormat,
    width: u32,
    height: u32,
    color: ColorSpace,
    layout: [PlaneLayout; 3],
    storage: Storage,
}

#[derive(Clone, Debug)]
enum Storage {
    Host(SharedBuffer),
    Device(Arc<dyn DeviceBuffer>),
}

impl Image {
    /// Largest width or height in pixels: what JPEG can say, and far from overflow.
    pub const MAX_SIDE: u32 = 65_535;

    /// An image from `pool` with unspecified content: the caller writes every visible byte.
    ///
    /// # Errors
    /// [`ImageError::Size`] for a side of zero or beyond [`Self::MAX_SIDE`].
    pub fn alloc(
        format: PixelFormat,
        width: u32,
        height: u32,
        color: ColorSpace,
        pool: &BufferPool,
    ) -> Result<Self, ImageError> {
        check_size(width, height)?;
        let (layout, len) = padded_layout(format, width, height, STRIDE_ALIGN);
        Ok(Self { format, width, height, color, layout, storage: Storage::Host(pool.take_shared(len)) })
    }

    /// Wraps `data` whose planes follow one another without padding. No copy.
    ///
    /// # Errors
    /// [`ImageError::Size`], or [`ImageError::Length`] unless `data` has exactly the bytes that the format needs.
    pub fn from_vec(
        format: PixelFormat,
        width: u32,
        height: u32,
        color: ColorSpace,
        data: Vec<u8>,
    ) -> Result<Self, ImageError> {
        check_size(width, height)?;
        let (layout, needed) = padded_layout(format, width, height, 1);
        if data.len() != needed {
            let plane = format.plane_count() - 1;
            return Err(ImageError::Length { plane, needed, available: data.len() });
        }
        Ok(Self {
            format,
            width,
            height,
            color,
            layout,
            storage: Storage::Host(HostBuffer::from(data).into()),
        })
    }

    /// Wraps a buffer with explicit plane positions. No copy.
    ///
    /// # Errors
    /// [`ImageError`] naming the size, plane count, stride or length that does not fit.
    pub fn from_buffer(
        format: PixelFormat,
        width: u32,
        height: u32,
        color: ColorSpace,
        buffer: HostBuffer,
        planes: &[PlaneLayout],
    ) -> Result<Self, ImageError> {
        let layout = checked_layout(format, width, height, planes, buffer.len())?;
        Ok(Self { format, width, height, color, layout, storage: Storage::Host(buffer.into()) })
    }

    /// Copies planes given as (bytes, stride) into an image from `pool`.
    ///
    /// # Errors
    /// [`ImageError`] naming the size, plane count, stride or length that does not fit.
    pub fn from_planes(
        format: PixelFormat,
        width: u32,
        height: u32,
        color: ColorSpace,
        planes: &[(&[u8], usize)],
        pool: &BufferPool,
    ) -> Result<Self, ImageError> {
        check_size(width, height)?;
        check_plane_count(format, planes.len())?;
        let mut image = Self::alloc(format, width, height, color, pool)?;
        for (index, &(data, stride)) in planes.iter().enumerate() {
            check_plane(format, index, width, height, PlaneLayout { offset: 0, stride }, data.len())?;
            let mut target = image.plane_mut(index)?;
            let row_bytes = target.row_bytes();
            for (y, row) in target.rows_mut().enumerate() {
                row.copy_from_slice(&data[y * stride..y * stride + row_bytes]);
            }
        }
        Ok(image)
    }

    /// Wraps pixels that an accelerator holds.
    ///
    /// # Errors
    /// [`ImageError`] naming the size, plane count, stride or length that does not fit.
    pub fn from_device(
        format: PixelFormat,
        width: u32,
        height: u32,
        color: ColorSpace,
        buffer: Arc<dyn DeviceBuffer>,
        planes: &[PlaneLayout],
    ) -> Result<Self, ImageError> {
        let layout = checked_layout(format, width, height, planes, buffer.len())?;
        Ok(Self { format, width, height, color, layout, storage: Storage::Device(buffer) })
    }

    /// A black picture in the native format of the MJPEG path, full-range I420.
    ///
    /// # Errors
    /// [`ImageError::Size`].
    pub fn black(width: u32, height: u32, pool: &BufferPool) -> Result<Self, ImageError> {
        let mut image = Self::alloc(PixelFormat::I420, width, height, ColorSpace::JPEG, pool)?;
        for (index, value) in [(0, 0), (1, 128), (2, 128)] {
            image.plane_mut(index)?.fill(value);
        }
        Ok(image)
    }

    /// Layout of the components.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Range and matrix.
    pub fn color(&self) -> ColorSpace {
        self.color
    }

    /// Corrects the range and matrix tags; the pixels stay as they are.
    pub fn set_color(&mut self, color: ColorSpace) {
        self.color = color;
    }

    /// Where the pixels live.
    pub fn memory(&self) -> Memory {
        match &self.storage {
            Storage::Host(_) => Memory::Host,
            Storage::Device(buffer) => buffer.memory(),
        }
    }

    /// The device buffer, for the crate that owns it.
    pub fn device_buffer(&self) -> Option<&Arc<dyn DeviceBuffer>> {
        match &self.storage {
            Storage::Host(_) => None,
            Storage::Device(buffer) => Some(buffer),
        }
    }

    /// The pool that this image's memory returns to, if any.
    pub fn pool(&self) -> Option<&BufferPool> {
        match &self.storage {
            Storage::Host(buffer) => buffer.pool(),
            Storage::Device(_) => None,
        }
    }

    /// Whether another `Image` shares these pixels, so that writing would copy them.
    pub fn is_shared(&self) -> bool {
        match &self.storage {
            Storage::Host(buffer) => buffer.owners() > 1,
            Storage::Device(buffer) => Arc::strong_count(buffer) > 1,
        }
    }

    /// Plane `index` for reading.
    ///
    /// # Errors
    /// [`ImageError::PlaneCount`] if there is no such plane, [`ImageError::DeviceMemory`] if the CPU cannot read it.
    pub fn plane(&self, index: usize) -> Result<Plane<'_>, ImageError> {
        check_plane_index(self.format, index)?;
        let Storage::Host(buffer) = &self.storage else { return Err(ImageError::DeviceMemory) };
        let (row_bytes, rows, range) = self.extent(index);
        Ok(Plane { data: &buffer[range], stride: self.layout[index].stride, row_bytes, rows })
    }

    /// Plane `index` for writing. Copies the whole picture first if it is shared.
    ///
    /// # Errors
    /// As [`plane`](Self::plane).
    pub fn plane_mut(&mut self, index: usize) -> Result<PlaneMut<'_>, ImageError> {
        check_plane_index(self.format, index)?;
        let (row_bytes, rows, range) = self.extent(index);
        let stride = self.layout[index].stride;
        // `unshare` may change the layout only of shared images, so it runs before the extent is used.
        if self.unshare()? {
            return self.plane_mut(index);
        }
        Ok(PlaneMut { data: &mut self.host_mut()?[range], stride, row_bytes, rows })
    }

    /// All planes of an I420 picture for writing: Y, U, V. Copies the whole picture first if it is shared.
    ///
    /// # Errors
    /// [`ImageError::PlaneCount`] unless the format is [`PixelFormat::I420`], [`ImageError::DeviceMemory`].
    pub fn i420_mut(&mut self) -> Result<[PlaneMut<'_>; 3], ImageError> {
        check_plane_count(self.format, 3)?;
        self.unshare()?;
        let extents = [0, 1, 2].map(|i| (self.extent(i), self.layout[i]));
        let mut rest: &mut [u8] = self.host_mut()?;
        let mut passed = 0;
        let mut planes = Vec::with_capacity(3);
        // Planes are cut off one after another in the order in which they lie in memory.
        let mut order = [0, 1, 2];
        order.sort_unstable_by_key(|&i| extents[i].1.offset);
        for i in order {
            let ((row_bytes, rows, range), layout) = extents[i].clone();
            let (head, tail) = rest.split_at_mut(range.end - passed);
            planes.push((
                i,
                PlaneMut { data: &mut head[range.start - passed..], stride: layout.stride, row_bytes, rows },
            ));
            rest = tail;
            passed = range.end;
        }
        planes.sort_unstable_by_key(|(i, _)| *i);
        let mut planes = planes.into_iter().map(|(_, plane)| plane);
        match (planes.next(), planes.next(), planes.next()) {
            (Some(y), Some(u), Some(v)) => Ok([y, u, v]),
            _ => Err(ImageError::PlaneCount { format: PixelFormat::I420, expected: 3, got: 0 }),
        }
    }

    /// The luma plane alone as a Gray8 image that shares the memory of this one, tagged with the same range.
    /// `None` for RGB formats.
    pub fn luma_view(&self) -> Option<Image> {
        self.format.is_yuv().then(|| Image { format: PixelFormat::Gray8, ..self.clone() })
    }

    /// This picture in host memory: a cheap clone if it is there already, else a transfer.
    ///
    /// # Errors
    /// [`ImageError::Transfer`] with what the device said.
    pub fn to_host(&self, pool: &BufferPool) -> Result<Self, ImageError> {
        let Storage::Device(device) = &self.storage else { return Ok(self.clone()) };
        let mut host = pool.take(device.len());
        device.copy_to_host(&mut host).map_err(ImageError::Transfer)?;
        Ok(Self { storage: Storage::Host(host.into()), ..self.clone() })
    }

    /// Copies the visible bytes of all planes, one after another without padding.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub fn to_packed(&self) -> Result<Vec<u8>, ImageError> {
        let mut packed = Vec::new();
        for index in 0..self.format.plane_count() {
            for row in self.plane(index)?.rows() {
                packed.extend_from_slice(row);
            }
        }
        Ok(packed)
    }

    fn extent(&self, index: usize) -> (usize, usize, std::ops::Range<usize>) {
        let row_bytes = self.format.row_bytes(index, self.width);
        let rows = self.format.rows(index, self.height);
        let PlaneLayout { offset, stride } = self.layout[index];
        (row_bytes, rows, offset..offset + stride * (rows - 1) + row_bytes)
    }

    fn host_mut(&mut self) -> Result<&mut [u8], ImageError> {
        match &mut self.storage {
            // Invariant: callers unshare first, so the buffer has exactly one owner.
            Storage::Host(buffer) => buffer.get_mut().map(|b| &mut **b).ok_or(ImageError::DeviceMemory),
            Storage::Device(_) => Err(ImageError::DeviceMemory),
        }
    }

    /// Makes this the only owner of its pixels; true if that took a copy. Other holders keep the old ones.
    fn unshare(&mut self) -> Result<bool, ImageError> {
        let Storage::Host(buffer) = &mut self.storage else { return Err(ImageError::DeviceMemory) };
        if buffer.get_mut().is_some() {
            return Ok(false);
        }
        let pool = buffer.pool().cloned().unwrap_or_else(|| BufferPool::new(0));
        let mut own = Self::alloc(self.format, self.width, self.height, self.color, &pool)?;
        for index in 0..self.format.plane_count() {
            let source = self.plane(index)?;
            for (to, from) in own.plane_mut(index)?.rows_mut().zip(source.rows()) {
                to.copy_from_slice(from);
            }
        }
        *self = own;
        Ok(true)
    }
}

fn check_size(width: u32, height: u32) -> Result<(), ImageError> {
    let ok = |side| (1..=Image::MAX_SIDE).contains(&side);
    if ok(width) && ok(height) { Ok(()) } else { Err(ImageError::Size { width, height }) }
}

fn check_plane_count(format: PixelFormat, got: usize) -> Result<(), ImageError> {
    let expected = format.plane_count();
    if got == expected { Ok(()) } else { Err(ImageError::PlaneCount { format, expected, got }) }
}

fn check_plane_index(format: PixelFormat, index: usize) -> Result<(), ImageError> {
    let expected = format.plane_count();
    if index < expected { Ok(()) } else { Err(ImageError::PlaneCount { format, expected, got: index + 1 }) }
}

fn check_plane(
    format: PixelFormat,
    plane: usize,
    width: u32,
    height: u32,
    layout: PlaneLayout,
    available: usize,
) -> Result<(), ImageError> {
    let row_bytes = format.row_bytes(plane, width);
    let PlaneLayout { offset, stride } = layout;
    if stride < row_bytes {
        return Err(ImageError::Stride { plane, stride, row_bytes });
    }
    let needed = stride
        .checked_mul(format.rows(plane, height) - 1)
        .and_then(|n| n.checked_add(row_bytes))
        .and_then(|n| n.checked_add(offset))
        .unwrap_or(usize::MAX);
    if needed > available { Err(ImageError::Length { plane, needed, available }) } else { Ok(()) }
}

fn checked_layout(
    format: PixelFormat,
    width: u32,
    height: u32,
    planes: &[PlaneLayout],
    available: usize,
) -> Result<[PlaneLayout; 3], ImageError> {
    check_size(width, height)?;
    check_plane_count(format, planes.len())?;
    let mut layout = [PlaneLayout::default(); 3];
    let mut taken: Vec<(usize, usize, usize)> = Vec::with_capacity(3);
    for (index, &plane) in planes.iter().enumerate() {
        check_plane(format, index, width, height, plane, available)?;
        let rows = format.rows(index, height);
        let end = plane.offset + plane.stride * (rows - 1) + format.row_bytes(index, width);
        // Overlapping planes would let one write change another.
        if let Some(&(other, _, other_end)) =
            taken.iter().find(|(_, start, e)| plane.offset < *e && *start < end)
        {
            return Err(ImageError::Length {
                plane: index.max(other),
                needed: other_end,
                available: plane.offset,
            });
        }
        taken.push((index, plane.offset, end));
        layout[index] = plane;
    }
    Ok(layout)
}

fn padded_layout(format: PixelFormat, width: u32, height: u32, align: usize) -> ([PlaneLayout; 3], usize) {
    let mut layout = [PlaneLayout::default(); 3];
    let mut offset = 0;
    for (index, plane) in layout.iter_mut().enumerate().take(format.plane_count()) {
        let stride = format.row_bytes(index, width).next_multiple_of(align);
        *plane = PlaneLayout { offset, stride };
        offset += stride * format.rows(index, height);
    }
    (layout, offset)
}

/// One component array for reading.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    row_bytes: usize,
    rows: usize,
}

impl<'a> Plane<'a> {
    /// The bytes from the first visible one to the last, padding between rows included.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Bytes between row starts.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Visible bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// The visible bytes of row `y`.
    ///
    /// # Panics
    /// If `y` is not below [`row_count`](Self::row_count).
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..y * self.stride + self.row_bytes]
    }

    /// The visible rows, top to bottom.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let row_bytes = self.row_bytes;
        self.data.chunks(self.stride).take(self.rows).map(move |row| &row[..row_bytes])
    }
}

/// One component array for writing.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    data: &'a mut [u8],
    stride: usize,
    row_bytes: usize,
    rows: usize,
}

impl<'a> PlaneMut<'a> {
    /// The bytes from the first visible one to the last, padding between rows included.
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.data
    }

    /// Bytes between row starts.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Visible bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// The visible bytes of row `y`.
    ///
    /// # Panics
    /// If `y` is not below [`row_count`](Self::row_count).
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        &mut self.data[y * self.stride..y * self.stride + self.row_bytes]
    }

    /// The visible rows, top to bottom.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let row_bytes = self.row_bytes;
        self.data.chunks_mut(self.stride).take(self.rows).map(move |row| &mut row[..row_bytes])
    }

    /// Writes `value` to every visible byte.
    pub fn fill(&mut self, value: u8) {
        self.rows_mut().for_each(|row| row.fill(value));
    }

    /// The same plane for reading.
    pub fn as_plane(&self) -> Plane<'_> {
        Plane { data: self.data, stride: self.stride, row_bytes: self.row_bytes, rows: self.rows }
    }
}

#[cfg(test)]
mod tests;
