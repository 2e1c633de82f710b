//! The metadata image, its records, and the controller that decides them. Pure.
