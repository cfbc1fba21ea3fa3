"""The stages of the pipeline, each resumable and usable by itself."""
