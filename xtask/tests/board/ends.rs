//! How machines end that have no isa-debug-exit and no semihosting: by whatever else they have, with
//! one verdict, and never a second time.
