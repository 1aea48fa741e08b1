//! OCI image layouts (OCI image specification, `image-layout.md`): folders, and tar archives of them.
//!
//! `index.json` lists the images. An image's name is an annotation, and any text: a tag, a whole reference, or
//! no name at all. [`LayoutIndex::select`] finds the image that a user means. A [`Store`](crate::Store) of a
//! layout shows the images of one repository: those whose names are tags, or `REPOSITORY:TAG`.

mod archive;
mod entry;
mod files;
mod folder;
mod index_file;
mod name;
mod selection;
mod tar;
mod upload;

pub use archive::LayoutArchive;
pub use folder::LayoutFolder;
pub use index_file::LayoutIndex;
pub use name::{LayoutName, LayoutNameError};
pub use selection::{LayoutChoices, LayoutImage, LayoutSelection, SelectionError};
