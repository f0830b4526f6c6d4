"""How many labels an encoder needs: classical models on few labels, many draws, geographic intervals."""
