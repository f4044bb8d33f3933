"""What the interop tests stand on: processes, certificates, packets, frames, and peers that lie."""
