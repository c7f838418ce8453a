//! What is taken out of the library to see that somebody misses it.
