"""microtomo: what lies under the surface, from multi-energy backscatter scans."""
