pub(crate) fn read_header<'a>(_rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), ()> {
    Err(())
}
