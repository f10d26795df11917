"""Versions brought out of a store in forms that need no mvc: folders, tar archives, safetensors files."""
