//! Pictures that Salesforce does not take as they are: WebP stickers, and what is larger than the org
//! allows. Decoded in pure Rust, in bounded memory; whatever cannot be converted stays what it was.
//!
//! HEIC is refused in words: its only decoders are large C libraries, and WhatsApp itself turns photos
//! into JPEG, so that one comes as a document at most.

use std::io::Cursor;

use image::{
    DynamicImage, GenericImageView as _, ImageDecoder as _, ImageFormat, ImageReader, Limits, RgbImage,
    codecs::jpeg::JpegEncoder, metadata::Orientation,
};

/// Larger files are not even read: WhatsApp's own limit for pictures is 5 MB.
pub(crate) const LARGEST_BYTES: u64 = 16 * 1024 * 1024;
/// What a decoded picture may have: a few kilobytes can claim to be gigabytes.
const MOST_PIXELS: u64 = 24_000_000;
const LONGEST_SIDE: u32 = 12_000;
/// Four bytes a pixel, and the decoder's own.
const MOST_MEMORY_BYTES: u64 = 192 * 1024 * 1024;
const JPEG_QUALITY: u8 = 85;
/// Halved so often until it fits.
const HALVINGS: u32 = 4;

/// A converted picture.
#[derive(PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) mime: &'static str,
    /// Of its file name.
    pub(crate) ending: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Whether [`convert`] knows the type.
pub(crate) fn is_known(mime: &str) -> bool {
    format(mime).is_some()
}

fn format(mime: &str) -> Option<ImageFormat> {
    match mime {
        "image/webp" => Some(ImageFormat::WebP),
        "image/jpeg" | "image/jpg" => Some(ImageFormat::Jpeg),
        "image/png" => Some(ImageFormat::Png),
        _ => None,
    }
}

/// The picture as PNG where something shines through and that fits, else as JPEG of at most `limit`
/// bytes; of a moving one the first frame. `None`: it is no sound picture, or too large for us.
/// Takes up to seconds of CPU: not on a thread that serves others.
pub(crate) fn convert(bytes: &[u8], mime: &str, limit: u64) -> Option<Picture> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format(mime)?);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return None;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    image.apply_orientation(orientation);

    let fits = |bytes: &Vec<u8>| bytes.len() as u64 <= limit;
    if image.color().has_alpha() && image.pixels().any(|(_, _, pixel)| pixel.0[3] < 255) {
        let mut png = Vec::new();
        image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).ok()?;
        if fits(&png) {
            return Some(Picture { mime: "image/png", ending: "png", bytes: png });
        }
    }
    for halving in 0..=HALVINGS {
        let (width, height) = (image.width() >> halving, image.height() >> halving);
        if width == 0 || height == 0 {
            return None;
        }
        let smaller = if halving == 0 { None } else { Some(image.thumbnail(width, height)) };
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
        on_white(smaller.as_ref().unwrap_or(&image)).write_with_encoder(encoder).ok()?;
        if fits(&jpeg) {
            return Some(Picture { mime: "image/jpeg", ending: "jpg", bytes: jpeg });
        }
    }
    None
}

fn on_white(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let over_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        u8::try_from((value * alpha + 255 * (255 - alpha)) / 255).unwrap_or(255)
    };
    let rgba = image.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        image::Rgb([over_white(r, a), over_white(g, a), over_white(b, a)])
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgb, Rgba, RgbaImage};

    use super::*;

    const MB: u64 = 1024 * 1024;

    fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn sticker(alpha: u8) -> DynamicImage {
        DynamicImage::ImageRgba8(RgbaImage::from_pixel(64, 32, Rgba([200, 10, 10, alpha])))
    }

    /// Nothing that compresses.
    fn noise(side: u32) -> DynamicImage {
        let mut random = fastrand::Rng::with_seed(7);
        DynamicImage::ImageRgb8(RgbImage::from_fn(side, side, |_, _| {
            Rgb([random.u8(..), random.u8(..), random.u8(..)])
        }))
    }

    #[test]
    fn a_sticker_becomes_png_where_something_shines_through_and_jpeg_where_not() {
        for (alpha, mime, start) in
            [(120, "image/png", &b"\x89PNG"[..]), (255, "image/jpeg", &b"\xff\xd8"[..])]
        {
            let webp = written(&sticker(alpha), ImageFormat::WebP);
            let picture = convert(&webp, "image/webp", MB).unwrap();
            assert_eq!(picture.mime, mime);
            assert!(picture.bytes.starts_with(start));
            let again = image::load_from_memory(&picture.bytes).unwrap();
            assert_eq!((again.width(), again.height()), (64, 32));
        }
    }

    #[test]
    fn a_picture_that_is_too_large_gets_smaller_until_it_fits() {
        let jpeg = written(&noise(600), ImageFormat::Jpeg);
        let limit = 60_000;
        assert!(jpeg.len() as u64 > limit);
        let picture = convert(&jpeg, "image/jpeg", limit).unwrap();
        assert!(picture.bytes.len() as u64 <= limit && picture.mime == "image/jpeg");
        assert!(convert(&jpeg, "image/jpeg", 100).is_none(), "nothing fits into so little");
        // See-through and too large as PNG: on white.
        let mut see_through = noise(400).to_rgba8();
        see_through.pixels_mut().for_each(|pixel| pixel.0[3] = 250);
        let png = written(&DynamicImage::ImageRgba8(see_through), ImageFormat::Png);
        assert_eq!(convert(&png, "image/png", 200_000).unwrap().mime, "image/jpeg");
    }

    #[test]
    fn bombs_and_what_is_no_picture_are_left_alone() {
        // The head of a PNG that claims 60,000 × 60,000 pixels, and one within the sides but not the
        // area.
        for (width, height) in [(60_000_u32, 60_000_u32), (11_000, 11_000)] {
            let mut png = written(&sticker(255), ImageFormat::Png);
            png[16..20].copy_from_slice(&width.to_be_bytes());
            png[20..24].copy_from_slice(&height.to_be_bytes());
            assert!(convert(&png, "image/png", MB).is_none());
        }
        let webp = written(&sticker(120), ImageFormat::WebP);
        assert!(convert(&webp[..webp.len() / 2], "image/webp", MB).is_none());
        assert!(convert(b"not a picture", "image/webp", MB).is_none());
        assert!(convert(&webp, "image/png", MB).is_none(), "not what it says it is");
        assert!(convert(b"\0\0\0\x18ftypheic", "image/heic", MB).is_none() && !is_known("image/heic"));
    }
}
