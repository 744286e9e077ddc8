//! What a network makes of a picture.

use std::{
    cell::{OnceCell, RefCell},
    hint::black_box,
    io,
    rc::Rc,
};

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::json;
use crate::{
    checkpoint::Model,
    data::{Picture, augment::resize_centre, decode_bytes},
    device::{Device, DeviceOptions},
    error::{Error, Result},
    formats::weights::ReadAt,
    infer::network,
    interop::{Asked, Beside, Imported, Opened, World},
    model::{
        Features, ModelConfig, Reconstruction, Statistics, Whose,
        config::{Masking, PixelTarget},
        masking,
    },
    rng::{Rng, Stream},
};

/// The colours of an error map, from none to [`ERROR_MOST`]: dark violet, red, orange, pale yellow.
const HEAT: [[f64; 3]; 5] =
    [[12.0, 8.0, 38.0], [87.0, 16.0, 110.0], [188.0, 55.0, 84.0], [249.0, 142.0, 9.0], [252.0, 255.0, 164.0]];
/// The error that has the brightest colour; pixels span −1 to 1.
const ERROR_MOST: f64 = 1.0;

/// A decoded picture.
#[wasm_bindgen]
pub struct Photo(pub(super) Picture);

#[wasm_bindgen]
impl Photo {
    /// Decodes an image file.
    pub fn decode(bytes: &[u8]) -> Result<Photo, JsError> {
        decode_bytes(bytes).map(|decoded| Photo(decoded.picture)).map_err(|reason| JsError::new(&reason))
    }

    /// Takes pixels of four values, as a canvas has them.
    pub fn from_rgba(rgba: Vec<u8>, width: usize, height: usize) -> Result<Photo, JsError> {
        let picture = Picture { height, width, channels: 4, pixels: rgba };
        picture.check().map_err(|reason| JsError::new(&reason))?;
        Ok(Photo(picture))
    }

    /// Columns of pixels.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Rows of pixels.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.0.height
    }
}

#[wasm_bindgen]
extern "C" {
    /// A file that is read in pieces, each at once.
    pub type Source;

    /// Bytes.
    #[wasm_bindgen(method, getter)]
    fn size(this: &Source) -> f64;

    /// The bytes from `offset` on.
    #[wasm_bindgen(method, catch)]
    fn read(this: &Source, offset: f64, length: f64) -> std::result::Result<Uint8Array, JsValue>;
}

impl ReadAt for Source {
    fn len(&self) -> u64 {
        self.size() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let bytes = self.read(offset as f64, into.len() as f64).map_err(|error| {
            let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
            io::Error::other(message.unwrap_or_else(|| "the browser does not read the file".into()))
        })?;
        if bytes.length() as usize != into.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.copy_to(into);
        Ok(())
    }
}

/// A file of weights whose tensors are listed and not read yet: this program's weights, a checkpoint's archive, or a
/// checkpoint of another program.
#[wasm_bindgen]
pub struct WeightsFile {
    opened: Opened,
    asked: Asked,
    bytes: u64,
}

#[wasm_bindgen]
impl WeightsFile {
    /// Opens a file. `config` and `processor` are `config.json` and `preprocessor_config.json` of its folder, where it is
    /// one of Hugging Face; `heads` are the encoder's attention heads, where the file does not say.
    pub fn open(
        source: Source,
        config: Option<Vec<u8>>,
        processor: Option<Vec<u8>>,
        heads: Option<usize>,
    ) -> Result<WeightsFile, JsError> {
        let beside = config.map(|config| Beside { config, processor });
        let opened = Opened::new("the weights", Rc::new(source), beside.as_ref())?;
        let asked = Asked { heads, ..Asked::default() };
        let bytes = opened.bytes(&asked)?;
        Ok(WeightsFile { opened, asked, bytes })
    }

    /// Bytes that reading the network takes, of the tab's memory and about as many of the GPU's.
    #[wasm_bindgen(getter)]
    pub fn bytes(&self) -> f64 {
        self.bytes as f64
    }
}

impl WeightsFile {
    pub(super) fn read(&self) -> Result<Imported> {
        room(self.bytes)?;
        self.opened.read(&self.asked)
    }
}

/// Makes sure that the tab has room for so many bytes, by taking and leaving them: what it once got it keeps.
fn room(bytes: u64) -> Result<()> {
    const PART: u64 = 64 << 20;
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for from in (0..bytes).step_by(PART as usize) {
        let mut part = Vec::new();
        part.try_reserve_exact(PART.min(bytes - from) as usize).map_err(|_| {
            let (wanted, had) = (bytes.div_ceil(1 << 20), from >> 20);
            let reason = format!(
                "reading them takes {wanted} MiB of memory, and this tab gets {had}; close other tabs, or use `bootmae \
                 reconstruct`, which has no such limit"
            );
            Error::checkpoint("the weights", reason)
        })?;
        parts.push(part);
    }
    black_box(&parts);
    Ok(())
}

/// What a page needs to know of a network.
#[derive(serde::Serialize)]
struct Description<'c> {
    image_height: usize,
    image_width: usize,
    patch_size: usize,
    rows: usize,
    columns: usize,
    patches: usize,
    masked: usize,
    masking: &'c Masking,
    step: u64,
    parameters: usize,
    has_features: bool,
    /// Whether hidden patches are predicted without mean and contrast, which are to be had from elsewhere.
    normalised: bool,
    /// Whose file it is, and what was settled without it or left out.
    world: Option<&'static str>,
    notes: &'c [String],
}

/// A trained network. A lost GPU is opened again when it is next asked for something.
#[wasm_bindgen]
pub struct Network {
    file: WeightsFile,
    step: u64,
    world: Option<World>,
    notes: Vec<String>,
    config: ModelConfig,
    held: RefCell<Rc<network::Network>>,
    image: RefCell<Option<Image>>,
}

/// The picture that a network looks at.
#[derive(Clone)]
struct Image {
    values: Rc<Vec<f32>>,
    /// The teacher's features of it.
    features: Option<Rc<Vec<f32>>>,
}

#[wasm_bindgen]
impl Network {
    /// Reads the network of a file. `raw` says that its decoder predicts plain pixels, which no tensor tells.
    pub async fn open(file: WeightsFile, raw: bool) -> Result<Network, JsError> {
        let Imported { model, world, notes } = file.read()?;
        let mut config = model.config.model.clone();
        if raw {
            config.pixel_target = PixelTarget::Raw;
        }
        config.feature_branch &= model.teacher.is_some();
        let device = Device::open(&DeviceOptions::default()).await?;
        let held = RefCell::new(Rc::new(load(device, &config, &model).await?));
        Ok(Network { file, step: model.step, world, notes, config, held, image: RefCell::default() })
    }

    /// Shapes, steps trained and number of parameters, as JSON.
    pub fn describe(&self) -> Result<String, JsError> {
        let config = &self.config;
        let (rows, columns) = config.grid();
        json(&Description {
            image_height: config.image_height,
            image_width: config.image_width,
            patch_size: config.patch_size,
            rows,
            columns,
            patches: config.patches(),
            masked: config.masked,
            masking: &config.masking,
            step: self.step,
            parameters: self.held.borrow().parameters(),
            has_features: config.feature_branch,
            normalised: config.pixel_target != PixelTarget::Raw,
            world: self.world.map(World::title),
            notes: &self.notes,
        })
    }

    /// A mask as `bootmae reconstruct` draws it for a seed: an entry for each patch in raster order, 1 where hidden.
    pub fn mask(&self, kind: &str, masked: usize, seed: f64) -> Result<Vec<u8>, JsError> {
        let mut config = self.config.clone().with_masked(masked);
        config.masking = match kind {
            "block" => Masking::Block,
            "random" => Masking::Random,
            _ => return Err(JsError::new(&format!("a mask is block or random, not {kind}"))),
        };
        config.check()?;
        let order = masking::patch_order(&config, &mut Rng::new(seed as u64, Stream::Mask, 0, 0), 0);
        let mut hidden = vec![0; config.patches()];
        order[config.visible()..].iter().for_each(|cell| hidden[*cell as usize] = 1);
        Ok(hidden)
    }

    /// Cuts the centre of a photo to the network's shape and looks at that from now on.
    pub async fn set_photo(&self, photo: &Photo) -> Result<(), JsError> {
        let (height, width) = (self.config.image_height, self.config.image_width);
        let picture = photo.0.clone().with_channels(self.config.channels);
        let values = Rc::new(resize_centre(&picture, height, width).normalise(&self.config.normalise));
        let features = self.with_network(async |network| network.features(&values).await).await?;
        self.image.replace(Some(Image { values, features: features.map(Rc::new) }));
        Ok(())
    }

    /// Reconstructs the photo with the patches hidden that are 1 in `hidden`, in raster order.
    pub async fn reconstruct(&self, hidden: Vec<u8>) -> Result<View, JsError> {
        let patches = self.config.patches();
        if hidden.len() != patches {
            return Err(JsError::new(&format!("a mask of {} entries for {patches} patches", hidden.len())));
        }
        let image = self.image.borrow().clone().ok_or_else(|| JsError::new("choose a photo first"))?;
        let (masked, visible): (Vec<u32>, Vec<u32>) = (0..patches as u32).partition(|cell| hidden[*cell as usize] == 1);
        if masked.is_empty() || visible.is_empty() {
            return Err(JsError::new("leave at least one patch visible and hide at least one"));
        }
        let order = [visible, masked.clone()].concat();
        let made = self.with_network(async |network| network.reconstruct(&image.values, &order, masked.len()).await);
        let made = made.await?;
        let features = image.features.and_then(|teacher| made.features(teacher.to_vec()));
        Ok(View::new(made, features))
    }
}

impl Network {
    /// Asks the network for something; if its device turns out to be lost, opens it again and asks once more.
    async fn with_network<T>(&self, ask: impl AsyncFn(&network::Network) -> Result<T>) -> Result<T> {
        let network = self.held.borrow().clone();
        match ask(&network).await {
            Err(_) if network.device().is_lost() => {
                let device = network.device().reopen().await?;
                let again = Rc::new(load(device, &self.config, &self.file.read()?.model).await?);
                self.held.replace(again.clone());
                ask(&again).await
            }
            answer => answer,
        }
    }
}

async fn load(device: Device, config: &ModelConfig, model: &Model) -> Result<network::Network> {
    let network = network::Network::new(device, config).await?;
    network.write(model).map_err(|reason| Error::checkpoint("the weights", reason))?;
    Ok(network)
}

/// What a network made of a picture. Pictures are RGBA.
#[wasm_bindgen]
pub struct View {
    made: Reconstruction,
    features: Option<Features>,
    /// Hidden patches filled in smoothly, once that is asked for.
    smooth: OnceCell<Vec<f32>>,
}

impl View {
    pub(super) fn new(made: Reconstruction, features: Option<Features>) -> View {
        View { made, features, smooth: OnceCell::new() }
    }

    fn smoothed(&self) -> &[f32] {
        self.smooth.get_or_init(|| self.made.smooth())
    }

    fn rgba(&self, values: &[f32]) -> Vec<u8> {
        let config = self.made.config();
        let (height, width) = (config.image_height, config.image_width);
        let picture = Picture::from_normalised(values, &config.normalise, config.channels, height, width);
        picture.with_channels(3).with_channels(4).pixels
    }

    /// Whether a pixel, by its number in raster order, is hidden.
    fn is_hidden(&self) -> impl Fn(usize) -> bool + use<> {
        let config = self.made.config();
        let (width, patch, columns) = (config.image_width, config.patch_size, config.grid().1);
        let mut hidden = vec![false; config.patches()];
        self.made.hidden().iter().for_each(|cell| hidden[*cell as usize] = true);
        move |pixel| hidden[pixel / width / patch * columns + pixel % width / patch]
    }

    /// Makes pixels transparent.
    fn clear(mut rgba: Vec<u8>, cleared: impl Fn(usize) -> bool) -> Vec<u8> {
        let pixels = rgba.as_chunks_mut::<4>().0.iter_mut().enumerate();
        pixels.filter(|(at, _)| cleared(*at)).for_each(|(_, pixel)| *pixel = [0; 4]);
        rgba
    }
}

fn statistics(own: bool) -> Statistics {
    if own { Statistics::Own } else { Statistics::Neighbours }
}

fn whose(which: &str) -> Result<Whose, JsError> {
    match which {
        "predicted" => Ok(Whose::Student),
        "teacher" => Ok(Whose::Teacher),
        _ => Err(JsError::new(&format!("features are predicted or the teacher's, not {which}"))),
    }
}

#[wasm_bindgen]
impl View {
    /// The photo as the network gets it.
    pub fn original(&self) -> Vec<u8> {
        self.rgba(self.made.original())
    }

    /// The photo with hidden patches transparent.
    pub fn masked(&self) -> Vec<u8> {
        View::clear(self.original(), self.is_hidden())
    }

    /// What the network makes of it: with the hidden patches' own mean and contrast, or with those of visible ones;
    /// visible patches are the photo's, or transparent.
    pub fn reconstruction(&self, own: bool, paste: bool) -> Vec<u8> {
        let rgba = self.rgba(&self.made.image(statistics(own)));
        let hidden = self.is_hidden();
        if paste { rgba } else { View::clear(rgba, |pixel| !hidden(pixel)) }
    }

    /// How far each hidden pixel is off, averaged over channels, as a colour; visible patches are transparent.
    pub fn error_map(&self, own: bool) -> Vec<u8> {
        let config = self.made.config();
        let (area, channels) = (config.image_height * config.image_width, config.channels);
        let (made, truth, hidden) = (self.made.image(statistics(own)), self.made.original(), self.is_hidden());
        let pixel = |at: usize| {
            let off = |c: usize| f64::from((made[c * area + at] - truth[c * area + at]).abs());
            let [r, g, b] = heat((0..channels).map(off).sum::<f64>() / channels as f64);
            if hidden(at) { [r, g, b, 255] } else { [0; 4] }
        };
        (0..area).flat_map(pixel).collect()
    }

    /// Peak signal-to-noise ratio of the hidden patches in decibels.
    pub fn psnr(&self, own: bool) -> f64 {
        self.made.psnr(statistics(own))
    }

    /// The photo with hidden patches filled in smoothly from the visible ones, without any network.
    pub fn smooth(&self) -> Vec<u8> {
        self.rgba(self.smoothed())
    }

    /// Peak signal-to-noise ratio in decibels of hidden patches filled in like that.
    pub fn smooth_psnr(&self) -> f64 {
        self.made.psnr_of(self.smoothed())
    }

    /// A colour for each patch, by columns and rows: the features' first three principal components. Patches without
    /// features are transparent; empty where the network has none at all.
    pub fn features(&self, which: &str) -> Result<Vec<u8>, JsError> {
        let whose = whose(which)?;
        let colours = self.features.as_ref().map(|features| features.colours(whose)).unwrap_or_default();
        Ok(colours.into_iter().flat_map(|colour| colour.map_or([0; 4], |[r, g, b]| [r, g, b, 255])).collect())
    }

    /// The cosine between predicted and teacher's features, averaged over hidden patches; NaN without features.
    pub fn cosine(&self) -> f64 {
        self.features.as_ref().map_or(f64::NAN, Features::cosine)
    }

    /// The cosine between the features of one patch and those of each; NaN where there are none.
    pub fn cosines(&self, which: &str, cell: usize) -> Result<Vec<f32>, JsError> {
        let (whose, patches) = (whose(which)?, self.made.config().patches());
        if cell >= patches {
            return Err(JsError::new(&format!("there is no patch {cell} of {patches}")));
        }
        let cosines = self.features.as_ref().map(|features| features.cosines(whose, cell));
        Ok(cosines.map_or(vec![f32::NAN; patches], |held| held.into_iter().map(|v| v as f32).collect()))
    }
}

/// The colour of an error.
fn heat(error: f64) -> [u8; 3] {
    let at = (error / ERROR_MOST).clamp(0.0, 1.0) * (HEAT.len() - 1) as f64;
    let lower = (at as usize).min(HEAT.len() - 2);
    let share = at - lower as f64;
    [0, 1, 2].map(|c| (HEAT[lower][c] * (1.0 - share) + HEAT[lower + 1][c] * share).round() as u8)
}
