//! Ooblex colab.
